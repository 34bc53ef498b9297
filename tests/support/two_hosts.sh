# Two hosts on one machine, for scripts: source it with $work set to a folder, as root. make_hosts gives two network
# namespaces addresses and host names of their own; two_hosts COMMAND... runs it as two MPI ranks, one on each, started by
# Open MPI's own launcher with an agent in place of ssh. Add "$hosts_end" to what runs on exit.
PATH=$PATH:/usr/sbin:/sbin
host_a=evenhand$$a host_b=evenhand$$b host_link=eh$$
hosts_end="ip netns del $host_a 2>/dev/null; ip netns del $host_b 2>/dev/null"
make_hosts() {
    ip netns add "$host_a" && ip netns add "$host_b" &&
        ip link add "$host_link" netns "$host_a" type veth peer name "$host_link" netns "$host_b" &&
        ip -n "$host_a" addr add 10.213.77.1/24 dev "$host_link" && ip -n "$host_b" addr add 10.213.77.2/24 dev "$host_link" &&
        for host in "$host_a" "$host_b"; do ip -n "$host" link set lo up && ip -n "$host" link set "$host_link" up || return 1; done &&
        unshare --uts true || return 1
    cat >"$work/agent" <<AGENT
#!/usr/bin/env bash
host=\$1; shift
case \$host in 10.213.77.2) ;; *) echo "agent: no host '\$host'" >&2; exit 1 ;; esac
exec ip netns exec $host_b unshare --uts bash -c "hostname second; \$*"
AGENT
    chmod +x "$work/agent"
}
two_hosts() {
    agent=$work/agent ip netns exec "$host_a" unshare --uts bash -c 'hostname first; exec mpirun --allow-run-as-root \
        --bind-to none -q --mca plm_rsh_agent "$agent" --mca oob_tcp_if_include 10.213.77.0/24 \
        --mca btl_tcp_if_include 10.213.77.0/24 -H 10.213.77.1:1,10.213.77.2:1 -n 2 "$@"' two_hosts "$@"
}
