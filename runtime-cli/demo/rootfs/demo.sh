#!/bin/sh
# Runs in the container and says what can be seen from there. It needs nothing but a shell: what it shows comes
# from the kernel, by way of the container's own /proc, /sys and /dev.

say() { printf '%-16s %s\n' "$1" "$2"; }

# The value of a line of /proc/self/status.
status() {
    while read -r key value; do
        [ "$key" = "$1:" ] && printf '%s' "$value"
    done < /proc/self/status
}

# The names of the capabilities that are in a hexadecimal set.
capabilities() {
    set=$((0x$1)) names=
    for name in chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable \
        net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot \
        sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease \
        audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read \
        perfmon bpf checkpoint_restore
    do
        [ $((set & 1)) = 1 ] && names="$names $name"
        set=$((set >> 1))
    done
    names=${names:- none}
    printf '%s' "${names# }"
}

# The first of these files that there is: limits have other names on cgroup v1 than on v2.
limit() {
    for file; do
        if [ -r "$file" ]; then
            read -r value < "$file"
            printf '%s' "$value"
            return
        fi
    done
    printf 'unknown'
}

entries() { (cd "$1" && echo *); }

# What a command that must not work has to say.
refused() { "$@" 2>&1 && echo "worked, and should not have"; }

processes=
for process in /proc/[0-9]*; do
    read -r name < "$process/comm" && processes="$processes, ${process#/proc/} $name"
done

say "process id" $$
say "hostname" "$(uname -n)"
say "user" "$(id)"
say "processes" "${processes#, }"
say "capabilities" "$(capabilities "$(status CapEff)")"
say "no new privs" "$(status NoNewPrivs)"
say "system calls" "$(refused unshare --user true)"
say "root directory" "$(entries /)"
say "write to /" "$(refused touch /file)"
say "write to /usr" "$(refused touch /usr/file)"
say "devices" "$(entries /dev)"
say "network" "$(entries /sys/class/net)"
say "open files" "at most $(ulimit -n)"
say "tasks" "at most $(limit /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max)"
say "memory" "at most $(limit /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes) bytes"
