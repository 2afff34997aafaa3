//! Confines the system calls of this process with seccomp (seccomp(2)) to a list: what every run needs, and what
//! its [`Work`] adds. A call that is not on it returns EPERM, and is counted.

mod list;

pub use list::name;

use std::collections::BTreeMap;
use std::io;

use rustix::process::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

use list::{ALWAYS, FORBIDDEN, FORBIDDEN_BPF, FORBIDDEN_FAMILIES, Must, WRITING_BITS};

use super::{CallConfinement, Work};
use crate::sys::refused_calls::count_refused_calls;

/// Returns whether this kernel refuses system calls as a filter says.
pub fn is_supported() -> bool {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    actions.is_ok_and(|actions| {
        actions
            .split_ascii_whitespace()
            .any(|action| action == "trap")
    })
}

/// Confines this process, with all its threads, to the calls of its work. `child` is a process that it started before,
/// and may kill.
pub fn confine(work: &[Work], child: Option<Pid>) -> io::Result<CallConfinement> {
    let mut rules = rules(work, child).map_err(io::Error::other)?;
    let calls = rules.len();
    // Of two filters, the stricter answer counts.
    rules.insert(libc::SYS_clone3, Vec::new());
    let program = compile(rules, SeccompAction::Trap, SeccompAction::Allow)?;
    // The C library falls back to clone(2), whose flags can be looked at, where the kernel has no clone3(2).
    let without = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let refusal = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let no_clone3 = compile(without, SeccompAction::Allow, refusal)?;
    count_refused_calls()?;
    apply_filter_all_threads(&no_clone3).map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)?;
    Ok(CallConfinement { calls })
}

/// Returns the calls of some work, each with rules of which one has to match; without any, every call matches.
fn rules(
    work: &[Work],
    child: Option<Pid>,
) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules = BTreeMap::<i64, Vec<SeccompRule>>::new();
    let mut free = Vec::new();
    let calls = work.iter().flat_map(|work| work.calls());
    for (number, condition) in ALWAYS.iter().chain(calls) {
        let rules = rules.entry(*number).or_default();
        match condition {
            None => free.push(*number),
            Some((argument, must)) => rules.extend(must.rules(*argument)?),
        }
    }
    for number in free {
        rules.insert(number, Vec::new());
    }
    // Its own threads end it: when what it was started by ends, and when something is badly wrong.
    let itself = std::process::id();
    let child = child.map(|child| child.as_raw_nonzero().get().cast_unsigned());
    let signalled = child.into_iter().map(|child| (libc::SYS_kill, child));
    for (number, process) in signalled.chain([(libc::SYS_tgkill, itself)]) {
        let process = u64::from(process);
        let is_process =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, process)?;
        rules.insert(number, vec![SeccompRule::new(vec![is_process])?]);
    }
    Ok(rules)
}

/// Returns the number of calls that are left to some work.
#[cfg(test)]
pub fn count(work: &[Work]) -> usize {
    rules(work, None).unwrap().len()
}

/// Forbids this process, and the programs that it runs, what no look at the host needs: to take over other
/// processes, to load modules and programs, to change files, mounts and clocks, to talk to other hosts. A program that is
/// run would not count a refusal, so it just gets EPERM.
pub fn forbid_changes() -> io::Result<()> {
    let eq = |argument, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN
        .iter()
        .map(|number| (*number, Vec::new()))
        .collect();
    let families = FORBIDDEN_FAMILIES
        .iter()
        .map(|family| SeccompRule::new(vec![eq(0, *family)?]));
    let streams = [libc::AF_INET, libc::AF_INET6].map(|family| {
        let is_stream = SeccompCmpOp::MaskedEq(0xf);
        let stream = u64::from(libc::SOCK_STREAM.cast_unsigned());
        let is_stream = SeccompCondition::new(1, SeccompCmpArgLen::Dword, is_stream, stream)?;
        SeccompRule::new(vec![eq(0, u64::from(family.cast_unsigned()))?, is_stream])
    });
    let sockets = families.chain(streams).collect::<Result<_, _>>();
    rules.insert(libc::SYS_socket, sockets.map_err(io::Error::other)?);
    for (number, argument) in [
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, 1),
        (libc::SYS_openat, 2),
    ] {
        let bits = WRITING_BITS.iter().map(|bit| {
            let is_set = SeccompCmpOp::MaskedEq(*bit);
            let is_set = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is_set, *bit)?;
            SeccompRule::new(vec![is_set])
        });
        rules.insert(
            number,
            bits.collect::<Result<_, _>>().map_err(io::Error::other)?,
        );
    }
    let commands = FORBIDDEN_BPF
        .iter()
        .map(|command| SeccompRule::new(vec![eq(0, *command)?]));
    let commands = commands.collect::<Result<_, _>>();
    rules.insert(libc::SYS_bpf, commands.map_err(io::Error::other)?);
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let program = compile(rules, SeccompAction::Allow, refusal)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    where_matched: SeccompAction,
) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    SeccompFilter::new(rules, otherwise, where_matched, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

impl Must {
    /// Returns rules of which one has to match.
    fn rules(self, argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let rule = |operator, value| {
            let condition =
                SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?;
            SeccompRule::new(vec![condition])
        };
        match self {
            Self::BeOneOf(values) => values
                .iter()
                .map(|&value| rule(SeccompCmpOp::Eq, value))
                .collect(),
            Self::LackBits(bits) => Ok(vec![rule(SeccompCmpOp::MaskedEq(bits), 0)?]),
            Self::HaveBits(bits) => Ok(vec![rule(SeccompCmpOp::MaskedEq(bits), bits)?]),
        }
    }
}
