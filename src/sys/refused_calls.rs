//! Counts the system calls that the sandbox refuses. The kernel sends SIGSYS in place of such a call
//! (`SECCOMP_RET_TRAP`, seccomp(2)); the handler counts it and has it return EPERM. A filter that returns EPERM
//! by itself (`SECCOMP_RET_ERRNO`) leaves nothing to count, and one that asks another process
//! (`SECCOMP_RET_USER_NOTIF`) needs that process for every answer.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system calls that are told apart; those beyond share the last place. Linux has fewer than 500.
const PLACES: usize = 512;

/// The refusals of each system call, by its number.
static REFUSED: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// A system call that was refused, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedCall {
    /// Its number on this machine's architecture.
    pub number: usize,
    /// The times that it was refused.
    pub count: u64,
}

/// Returns the system calls that were refused so far.
pub fn refused_calls() -> Vec<RefusedCall> {
    let counts = REFUSED.iter().map(|count| count.load(Ordering::Relaxed));
    let calls = counts.enumerate();
    let calls = calls.map(|(number, count)| RefusedCall { number, count });
    calls.filter(|call| call.count > 0).collect()
}

/// Handles SIGSYS from now on, in every thread.
pub fn count_refused_calls() -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = refuse;
    // SAFETY: zeroed memory is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler has the type that SA_SIGINFO asks for, and calls nothing that may not be called in a
    // handler: it adds to an atomic number and writes to the context that it was handed.
    let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

extern "C" fn refuse(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: with SA_SIGINFO the kernel hands over the interrupted thread's context, which is the handler's
    // alone until it returns.
    let Some(context) = (unsafe { context.as_mut() }) else {
        return;
    };
    let number = exchange_for_refusal(context);
    let place = number.min(PLACES - 1);
    REFUSED[place].fetch_add(1, Ordering::Relaxed);
}

/// Returns the number of the system call that did not take place, and has it return EPERM.
#[cfg(target_arch = "x86_64")]
fn exchange_for_refusal(context: &mut libc::ucontext_t) -> usize {
    let register = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    let number = usize::try_from(*register).unwrap_or(usize::MAX);
    *register = (-libc::EPERM).into();
    number
}

/// Returns the number of the system call that did not take place, and has it return EPERM.
#[cfg(target_arch = "aarch64")]
fn exchange_for_refusal(context: &mut libc::ucontext_t) -> usize {
    let registers = &mut context.uc_mcontext.regs;
    let number = usize::try_from(registers[8]).unwrap_or(usize::MAX);
    registers[0] = i64::from(-libc::EPERM).cast_unsigned();
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_not_refused_is_not_listed() {
        let number = PLACES - 2;
        let is_listed = || refused_calls().iter().any(|call| call.number == number);
        assert!(!is_listed());
        REFUSED[number].fetch_add(2, Ordering::Relaxed);
        let listed = refused_calls();
        assert!(listed.contains(&RefusedCall { number, count: 2 }));
    }
}
