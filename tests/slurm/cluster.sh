# A Slurm cluster of two "nodes" on this machine, for tests: source it, then `cluster_up DIR` and, at the end,
# `cluster_down DIR`. DIR/pids holds the processes, one "PID NAME" a line; only those are ended.
cluster_up() {
    local dir=$1 nodes=2 port=$((20000 + RANDOM % 20000)) here i
    here=$(dirname "${BASH_SOURCE[0]}")
    mkdir -p "$dir/ctld"
    (umask 077 && mkdir -p "$dir/munge" && head -c 128 /dev/urandom >"$dir/munge/key")
    : >"$dir/pids"
    export SLURM_CONF=$dir/slurm.conf
    sed -e "s|@DIR@|$dir|g" -e "s|@PORT@|$port|g" "$here/slurm.conf.in" >"$SLURM_CONF"
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$dir/spool.n$i" "$dir/tmp.n$i"
        echo "NodeName=n$i NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=2 RealMemory=2000" >>"$SLURM_CONF"
    done
    echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$SLURM_CONF"
    cluster_start "$dir" munged munged --foreground --force --key-file="$dir/munge/key" \
        --socket="$dir/munge/munged.sock" --pid-file="$dir/munge/munged.pid" --seed-file="$dir/munge/seed" \
        --log-file="$dir/munge/munged.log"
    await 10 munge --socket="$dir/munge/munged.sock" --no-input || return 1
    cluster_start "$dir" slurmctld slurmctld -D -i -f "$SLURM_CONF"
    await 20 scontrol ping || return 1
    for ((i = 1; i <= nodes; i++)); do
        # Each node a host name of its own, or ranks of two nodes would map each other's shared memory.
        cluster_start "$dir" "slurmd.n$i" unshare --uts sh -c "hostname n$i && exec slurmd -D -N n$i -f '$SLURM_CONF'"
    done
    await 30 cluster_idle "$nodes"
}
cluster_idle() { [ "$(sinfo -h -N -t idle -o %N | sort -u | wc -l)" -eq "$1" ]; }
cluster_start() {
    local dir=$1 name=$2
    shift 2
    setsid "$@" </dev/null >"$dir/$name.log" 2>&1 &
    echo "$! $name" >>"$dir/pids"
}
# await SECONDS COMMAND...: until it succeeds
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "waited in vain for: $*"; return 1; }
        sleep 0.1
    done
}
cluster_down() {
    local dir=$1 name pid
    [ -s "$dir/pids" ] || return 0
    timeout 5 scancel --user=root 2>/dev/null
    await 15 cluster_empty
    for name in slurmd slurmctld munged; do # munged last: the others end through it
        for pid in $(awk -v name="^$name" '$2 ~ name {print $1}' "$dir/pids"); do
            kill -TERM "$pid" 2>/dev/null
            await 10 cluster_ended "$pid" || kill -KILL "$pid" 2>/dev/null
        done
    done
    : >"$dir/pids"
}
cluster_empty() { [ -z "$(timeout 5 squeue -h)" ]; }
cluster_ended() { [ ! -d "/proc/$1" ] || [ "$(ps -o stat= -p "$1" | cut -c1)" = Z ]; } # pid 1 may not reap
job_field() { scontrol show job "$1" -o | head -1 | grep -oP "\b$2=\K\S+"; } # job_field ID KEY
job_is() { [ "$(job_field "$1" JobState)" = "$2" ]; }
