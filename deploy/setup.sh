#!/bin/sh
# Puts Stepwave into the Prefect server that PREFECT_API_URL names: work pools, automations, deployments.
#
#     sh deploy/setup.sh                 # flow runs are processes of workers
#     sh deploy/setup.sh kubernetes      # flow runs are jobs of a Kubernetes cluster
#
# Run it from the root of the checkout, with Stepwave's environment first on the path; again after every change in
# deploy/: what is there then follows the files. Pools of the other type stop it.
set -eu
type=${1:-process}
test -f "deploy/pools/$type.json" ||
    { echo "setup: run me from the checkout's root; the type is process or kubernetes" >&2; exit 2; }

python deploy/set_up.py "$type"
prefect --no-prompt deploy --prefect-file deploy/prefect.yaml --all
