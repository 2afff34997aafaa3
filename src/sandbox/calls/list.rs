//! The system calls that each [`Work`] needs, those that no look at the host needs, and names of calls for messages.

use super::super::Work;

/// A condition on an argument.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    /// It is one of these.
    BeOneOf(&'static [u64]),
    /// These bits are not set.
    LackBits(u64),
    /// These bits are set.
    HaveBits(u64),
}

/// A system call, and the condition on one of its arguments.
pub type CallRule = (libc::c_long, Option<(u8, Must)>);

const fn any(number: libc::c_long) -> CallRule {
    (number, None)
}

const fn with(number: libc::c_long, argument: u8, must: Must) -> CallRule {
    (number, Some((argument, must)))
}

/// Bits of open(2)'s flags that write or create: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC.
const WRITING_FLAGS: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
/// The same, one by one.
pub const WRITING_BITS: &[u64] = &[
    libc::O_WRONLY as u64,
    libc::O_RDWR as u64,
    libc::O_CREAT as u64,
    libc::O_TRUNC as u64,
];
/// Bits of a file that must not exist.
const NEW: u64 = (libc::O_CREAT | libc::O_EXCL) as u64;
const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;

/// Memory, threads, signals, time, and descriptors that are open. Measured with strace(1) for each kind of run; what is
/// rarer has its reason here.
pub const ALWAYS: &[CallRule] = &[
    any(libc::SYS_read),
    any(libc::SYS_write),
    any(libc::SYS_close),
    any(libc::SYS_fcntl),
    with(libc::SYS_ioctl, 1, Must::BeOneOf(OF_STREAMS)),
    with(libc::SYS_mmap, 2, Must::LackBits(EXECUTABLE)),
    with(libc::SYS_mprotect, 2, Must::LackBits(EXECUTABLE)),
    any(libc::SYS_munmap),
    // Large vectors that grow.
    any(libc::SYS_mremap),
    any(libc::SYS_madvise),
    any(libc::SYS_brk),
    any(libc::SYS_futex),
    POLL,
    // Where the clock cannot be read without a call, as in some virtual machines.
    any(libc::SYS_clock_gettime),
    any(libc::SYS_clock_nanosleep),
    any(libc::SYS_getrandom),
    // Channels between threads, when two of them meet.
    any(libc::SYS_sched_yield),
    any(libc::SYS_sched_getaffinity),
    any(libc::SYS_rt_sigprocmask),
    any(libc::SYS_rt_sigreturn),
    any(libc::SYS_sigaltstack),
    any(libc::SYS_restart_syscall),
    // The pipe that wakes the thread that handles signals is a pair of sockets. Without the address of a receiver.
    any(libc::SYS_recvfrom),
    with(libc::SYS_sendto, 4, Must::BeOneOf(&[0])),
    with(libc::SYS_clone, 0, Must::HaveBits(THREAD)),
    any(libc::SYS_rseq),
    any(libc::SYS_set_robust_list),
    with(
        libc::SYS_prctl,
        0,
        Must::BeOneOf(&[libc::PR_SET_NAME as u64, libc::PR_SET_VMA as u64]),
    ),
    // With tgkill(2) for this process alone: abort(3), and raise(3).
    any(libc::SYS_getpid),
    any(libc::SYS_gettid),
    any(libc::SYS_exit),
    any(libc::SYS_exit_group),
];

/// The C library's poll(3).
#[cfg(target_arch = "x86_64")]
const POLL: CallRule = any(libc::SYS_poll);
#[cfg(not(target_arch = "x86_64"))]
const POLL: CallRule = any(libc::SYS_ppoll);

/// TCGETS and its successor TCGETS2, TIOCGWINSZ, FIONREAD: what standard streams are asked.
const OF_STREAMS: &[u64] = &[0x5401, 0x802c_542a, 0x5413, 0x541b];
/// TCSETS, TCSETSW, TCSETSF and their successors, by which the terminal's modes are set; FIONBIO, of a pair of sockets.
const OF_TERMINALS: &[u64] = &[
    0x5402,
    0x5403,
    0x5404,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    0x5421,
];

const AF_UNIX: u64 = libc::AF_UNIX as u64;
const AF_NETLINK: u64 = libc::AF_NETLINK as u64;
/// SIOCGIFNAME, SIOCGIFINDEX: what is asked of devices.
const OF_DEVICES: &[u64] = &[0x8910, 0x8933];

const FILES: &[CallRule] = &[
    with(libc::SYS_openat, 2, Must::LackBits(WRITING_FLAGS)),
    any(libc::SYS_lseek),
    any(libc::SYS_statx),
];

const FOLDERS: &[CallRule] = &[
    any(libc::SYS_getdents64),
    // opendir(3) makes one or the other, depending on the version of the C library.
    any(libc::SYS_fstat),
    any(libc::SYS_newfstatat),
];

const DEVICES: &[CallRule] = &[
    with(libc::SYS_socket, 0, Must::BeOneOf(&[AF_UNIX])),
    with(libc::SYS_ioctl, 1, Must::BeOneOf(OF_DEVICES)),
];

const NETLINK: &[CallRule] = &[
    any(libc::SYS_recvmmsg),
    any(libc::SYS_setsockopt),
    any(libc::SYS_getsockopt),
    any(libc::SYS_flock),
];

const PROGRAMS: &[CallRule] = &[
    // BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_PROG_TEST_RUN, BPF_OBJ_GET_INFO_BY_FD, BPF_MAP_LOOKUP_BATCH.
    with(libc::SYS_bpf, 0, Must::BeOneOf(&[1, 2, 10, 15, 24])),
    any(libc::SYS_membarrier),
];

const LOADING: &[CallRule] = &[
    // BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_RAW_TRACEPOINT_OPEN, BPF_MAP_FREEZE.
    with(libc::SYS_bpf, 0, Must::BeOneOf(&[0, 5, 17, 22])),
    any(libc::SYS_perf_event_open),
    // PERF_EVENT_IOC_ENABLE.
    with(libc::SYS_ioctl, 1, Must::BeOneOf(&[0x2400])),
    any(libc::SYS_epoll_create1),
    any(libc::SYS_epoll_ctl),
];

const WRITING: &[CallRule] = &[any(libc::SYS_ftruncate)];

const REMOVING: &[CallRule] = &[any(libc::SYS_unlinkat), any(libc::SYS_newfstatat)];

const CREATING: &[CallRule] = &[
    any(libc::SYS_openat),
    any(libc::SYS_newfstatat),
    any(libc::SYS_fchown),
    any(libc::SYS_unlinkat),
];

const CREATING_NEW: &[CallRule] = &[
    with(libc::SYS_openat, 2, Must::HaveBits(NEW)),
    any(libc::SYS_fchown),
];

const FOR_CALLER: &[CallRule] = &[
    any(libc::SYS_capget),
    any(libc::SYS_capset),
    any(libc::SYS_setfsuid),
    any(libc::SYS_setfsgid),
    any(libc::SYS_getuid),
    any(libc::SYS_getgid),
];

const TABLE: &[CallRule] = &[
    with(libc::SYS_ioctl, 1, Must::BeOneOf(OF_TERMINALS)),
    any(libc::SYS_rt_sigaction),
    any(libc::SYS_pipe2),
    any(libc::SYS_socketpair),
    // The memory of this machine, of which the kernel's buffers take a part.
    any(libc::SYS_sysinfo),
];

const WAITING: &[CallRule] = &[any(libc::SYS_wait4)];

const RECEIVING: &[CallRule] = &[any(libc::SYS_recvmsg)];

const SYNCING: &[CallRule] = &[any(libc::SYS_fsync)];

const HANDING_OVER: &[CallRule] = &[any(libc::SYS_sendmsg)];

const NAMESPACES: &[CallRule] = &[
    // The C library, at the first thread.
    any(libc::SYS_rt_sigaction),
    with(
        libc::SYS_setns,
        1,
        Must::BeOneOf(&[libc::CLONE_NEWNET as u64]),
    ),
    with(libc::SYS_socket, 0, Must::BeOneOf(&[AF_UNIX, AF_NETLINK])),
    any(libc::SYS_bind),
    any(libc::SYS_getsockname),
    any(libc::SYS_sendto),
    any(libc::SYS_recvmsg),
    any(libc::SYS_setsockopt),
];

impl Work {
    /// Returns the calls that it adds.
    pub fn calls(self) -> &'static [CallRule] {
        match self {
            Self::Files => FILES,
            Self::Folders => FOLDERS,
            Self::Devices => DEVICES,
            Self::Netlink => NETLINK,
            Self::Programs => PROGRAMS,
            Self::Loading => LOADING,
            Self::Writing => WRITING,
            Self::Receiving => RECEIVING,
            Self::Syncing => SYNCING,
            Self::Creating => CREATING,
            Self::CreatingNew => CREATING_NEW,
            Self::ForCaller => FOR_CALLER,
            Self::HandingOver => HANDING_OVER,
            Self::Removing => REMOVING,
            Self::Table => TABLE,
            Self::Waiting => WAITING,
            Self::Namespaces => NAMESPACES,
        }
    }
}

/// The calls that no look at the host needs.
pub const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_chroot,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_openat2,
    libc::SYS_truncate,
    libc::SYS_mknodat,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_fsetxattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
];
/// AF_PACKET, AF_VSOCK.
pub const FORBIDDEN_FAMILIES: &[u64] = &[17, 40];
/// BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_RAW_TRACEPOINT_OPEN, BPF_LINK_CREATE.
pub const FORBIDDEN_BPF: &[u64] = &[0, 5, 8, 9, 17, 28];

/// The names of calls that somebody who takes a process over would try, and of some that libraries make.
const NAMES: &[(libc::c_long, &str)] = &[
    (libc::SYS_execve, "execve"),
    (libc::SYS_execveat, "execveat"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_socket, "socket"),
    (libc::SYS_bind, "bind"),
    (libc::SYS_listen, "listen"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_readlinkat, "readlinkat"),
    (libc::SYS_faccessat2, "faccessat2"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_uname, "uname"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_kill, "kill"),
    (libc::SYS_tgkill, "tgkill"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_perf_event_open, "perf_event_open"),
    (libc::SYS_init_module, "init_module"),
    (libc::SYS_finit_module, "finit_module"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_setuid, "setuid"),
    (libc::SYS_setresuid, "setresuid"),
    (libc::SYS_capset, "capset"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_fork, "fork"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_vfork, "vfork"),
];

/// Returns the name of a system call, if it is one of those that are likely to be refused.
pub fn name(number: usize) -> Option<&'static str> {
    let number = libc::c_long::try_from(number).ok()?;
    let found = NAMES.iter().find(|(other, _)| *other == number);
    found.map(|(_, name)| *name)
}
