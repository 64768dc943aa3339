#!/bin/sh
# Puts Stepwave into the Prefect server that PREFECT_API_URL names: work pools, automations, deployments.
#
#     sh deploy/setup.sh                 # flow runs are processes of workers
#     sh deploy/setup.sh kubernetes      # flow runs are jobs of a Kubernetes cluster
#
# Run it from the root of the checkout, with Stepwave's environment first on the path; again after every change in
# deploy/. Pools that are there, and automations that are there, are left as they are.
set -eu
type=${1:-process}
template=deploy/pools/$type.json
test -f "$template" || { echo "setup: run me from the checkout's root; the type is process or kubernetes" >&2; exit 2; }

for pool in stepwave stepwave-gpu; do
    prefect work-pool inspect "$pool" >/dev/null 2>&1 ||
        prefect work-pool create "$pool" --type "$type" --base-job-template "$template" >/dev/null
    echo "work pool $pool"
done

# flow runs that fall silent are crashed, and jobs that crashed are started again
prefect automation inspect stepwave-silent >/dev/null 2>&1 ||
    prefect automation create --from-file deploy/automations/crashes.yaml

prefect --no-prompt deploy --prefect-file deploy/prefect.yaml --all
