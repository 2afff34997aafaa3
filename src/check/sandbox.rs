//! The sandbox that this kernel can give a run.

use super::Finding;
use super::host::HostFacts;

/// Returns the line about Landlock and seccomp.
pub fn finding(host: &HostFacts) -> Finding {
    const SUBJECT: &str = "sandbox";
    match (host.landlock, host.has_seccomp) {
        (Some(version), true) => Finding::yes(
            SUBJECT,
            format!("Landlock, version {version}, confines files, and seccomp system calls"),
        ),
        (None, true) => Finding::no(
            SUBJECT,
            "no Landlock: seccomp confines system calls, nothing confines files",
            "boot with `landlock` among the modules of lsm=, on Linux 5.13 or later",
        ),
        (landlock, false) => {
            let files = match landlock {
                Some(_) => "Landlock confines files",
                None => "nothing confines files",
            };
            Finding::no(
                SUBJECT,
                format!("no seccomp: {files}, nothing confines system calls"),
                "boot a kernel with CONFIG_SECCOMP_FILTER=y, on x86_64 or aarch64",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let line = |landlock, has_seccomp| {
            let host = HostFacts {
                landlock,
                has_seccomp,
                ..HostFacts::default()
            };
            finding(&host).to_string()
        };
        assert_eq!(
            line(Some(6), true),
            "ok    sandbox: Landlock, version 6, confines files, and seccomp system calls"
        );
        assert!(line(None, true).starts_with("no    sandbox: no Landlock: seccomp confines"));
        assert!(
            line(Some(1), false).starts_with("no    sandbox: no seccomp: Landlock confines files")
        );
        assert!(line(None, false).starts_with("no    sandbox: no seccomp: nothing confines files"));
    }
}
