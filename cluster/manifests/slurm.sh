#!/usr/bin/env bash
# sbatch cluster/manifests/slurm.sh configs/sysu.yaml NAME: a Ray cluster inside a Slurm allocation, and a training on it.
# It may be requeued and submitted again: a run of this name continues. Three minutes before its time limit it requeues
# itself. ECUL_HOME: the checkout, with its .venv; ECUL_STORAGE: for runs. Both are folders that all nodes share.
#SBATCH --job-name=ecul
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
#SBATCH --cpus-per-task=24
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
set -euo pipefail

config=${1:?usage: sbatch slurm.sh CONFIG NAME}
name=${2:?usage: sbatch slurm.sh CONFIG NAME}
cd "${ECUL_HOME:?set ECUL_HOME to the checkout}"
. .venv/bin/activate

# A token of this job alone; the W&B key stays in ~/.netrc, which wandb reads.
umask 077
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))
# Jobs may share a node; Ray's processes would look for "the" cluster of the machine, and may find the other job's.
export RAY_ADDRESS="$address:$port"

srun --nodes=1 --ntasks=1 --overlap -w "$head" ray start --head --node-ip-address="$address" --port="$port" \
  --dashboard-host=127.0.0.1 --num-cpus="$SLURM_CPUS_PER_TASK" --block &
python -m cluster.wait --address "$address:$port" --nodes 1 --timeout 120
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --overlap -w "$node" ray start --address="$address:$port" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
python -m cluster.wait --address "$address:$port" --nodes "${#nodes[@]}" --timeout 300

train() {
  exec python -m cluster.train --config "$config" --name "$name" --resume-or-start --address "$address:$port" \
    --workers 4 --cluster-set cpus_per_worker=8 --cluster-set clustering.num_cpus=8 --storage "${ECUL_STORAGE:?set ECUL_STORAGE}"
}

again() {
  kill -TERM "$driver"
  wait "$driver" || true
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
}
# Without its own wait the script would end before the driver, which Slurm then kills.
stop() {
  kill -TERM "$driver"
  wait "$driver" || code=$?
  exit "$code"
}
code=0
trap again USR1
trap stop TERM
train &
driver=$!
wait "$driver" || code=$?
exit "$code"
