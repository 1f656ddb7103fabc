#!/usr/bin/env bash
# A real SLURM on this one machine, for the tests: `sudo tests/slurm/start.sh`, on Debian and Ubuntu.
# Controller and node daemon, two processors, no accounting, no cgroups; state in /tmp/fmlab-slurm. Started again, it begins
# anew. `tests/slurm/start.sh stop` ends it.
set -euo pipefail
home=/tmp/fmlab-slurm
export SLURM_CONF=$home/slurm.conf

stop() {
    pkill -x slurmctld || true
    pkill -x slurmd || true
    for _ in $(seq 50); do pgrep -x slurmctld >/dev/null || pgrep -x slurmd >/dev/null || break; sleep 0.1; done
}

if [ "${1:-}" = stop ]; then stop; exit 0; fi
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends slurm-wlm munge
fi
stop
rm -rf "$home"
mkdir -p "$home/state" "$home/spool"
mkdir -p /run/munge && chown munge: /run/munge /etc/munge /var/lib/munge /var/log/munge
if [ ! -s /etc/munge/munge.key ]; then
    dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
fi
chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
pgrep -x munged >/dev/null || su -s /bin/sh munge -c /usr/sbin/munged
host=$(hostname -s)
cat > "$SLURM_CONF" <<CONF
ClusterName=fmlab
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
JobRequeue=1
ReturnToService=2
AuthInfo=cred_expire=5
MinJobAge=3600
KillWait=20
MaxArraySize=1001
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
slurmctld
slurmd
for _ in $(seq 100); do
    [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && break
    sleep 0.2
done
sinfo
[ "$(sinfo -h -o %t)" = idle ] || { echo "SLURM has no idle node; see $home/slurmd.log" >&2; exit 1; }
echo "now, in your shell: export SLURM_CONF=$SLURM_CONF"
