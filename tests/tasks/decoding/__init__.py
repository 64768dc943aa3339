"""The decoding core against fakes of engines and vocabularies: no vLLM, no Prefect, no transformers."""
