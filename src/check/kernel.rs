//! The kernel's part: BTF, lockdown, addresses.

use super::Finding;
use super::capabilities::cure;
use super::host::HostFacts;

/// Returns the line about the kernel's BTF.
pub fn btf(host: &HostFacts) -> Finding {
    const SUBJECT: &str = "BTF";
    match host.btf {
        Some(bytes) => Finding::yes(
            SUBJECT,
            format!("/sys/kernel/btf/vmlinux, {} KiB", bytes / 1024),
        ),
        None => Finding::no(
            SUBJECT,
            "/sys/kernel/btf/vmlinux is not there, and eBPF needs it",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y; `dwdump --source netdm` works without",
        ),
    }
}

/// Returns the line about the kernel's lockdown (kernel_lockdown(7)). The file has all modes, the current
/// one in brackets.
pub fn lockdown(host: &HostFacts) -> Finding {
    const SUBJECT: &str = "lockdown";
    let modes = host.lockdown.as_deref().unwrap_or_default();
    let mut modes = modes.split_ascii_whitespace();
    let current = modes.find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'));
    match current {
        Some("confidentiality") => Finding::no(
            SUBJECT,
            "confidentiality, which forbids eBPF to read packets",
            "boot with lockdown=integrity; `dwdump --source netdm` works with this one",
        ),
        Some("integrity") => Finding::yes(SUBJECT, "integrity, which allows both sources"),
        _ => Finding::yes(SUBJECT, "none"),
    }
}

/// Returns the line about the kernel's addresses.
pub fn symbols(host: &HostFacts) -> Finding {
    const SUBJECT: &str = "symbols";
    let Some(table) = &host.kallsyms else {
        return Finding::no(
            SUBJECT,
            "/proc/kallsyms cannot be read, so eBPF's drops have no functions and NET_DM's are cut",
            "boot a kernel with CONFIG_KALLSYMS=y",
        );
    };
    let limit = host.kptr_restrict.as_deref().unwrap_or_default().trim();
    let limit = if limit.is_empty() { "unknown" } else { limit };
    if shows_addresses(table) {
        let found = format!("/proc/kallsyms shows addresses (kernel.kptr_restrict is {limit})");
        return Finding::yes(SUBJECT, found);
    }
    let found = format!(
        "/proc/kallsyms hides addresses (kernel.kptr_restrict is {limit}), so eBPF's drops have no functions \
         and NET_DM's are cut"
    );
    let cure = if limit == "2" {
        "`sudo sysctl kernel.kptr_restrict=1` shows them to root"
    } else {
        cure(host)
    };
    Finding::no(SUBJECT, found, cure)
}

/// Returns whether a symbol has an address. Some have 0 where they are shown, too.
fn shows_addresses(table: &str) -> bool {
    let mut addresses = table.lines().filter_map(|line| line.split(' ').next());
    addresses.any(|address| address.bytes().any(|digit| digit != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn btf_is_there_or_not() {
        let mut host = HostFacts::default();
        let line = btf(&host).to_string();
        assert!(line.contains("CONFIG_DEBUG_INFO_BTF=y"), "{line}");
        host.btf = Some(5_242_880);
        let line = btf(&host).to_string();
        assert_eq!(line, "ok    BTF: /sys/kernel/btf/vmlinux, 5120 KiB");
    }

    #[test]
    fn lockdown_forbids_in_one_mode() {
        for (text, is_ok, words) in [
            (None, true, "lockdown: none"),
            (Some(""), true, "lockdown: none"),
            (Some("[none] integrity confidentiality\n"), true, ": none"),
            (
                Some("none [integrity] confidentiality\n"),
                true,
                "integrity",
            ),
            (
                Some("none integrity [confidentiality]\n"),
                false,
                "--source netdm",
            ),
        ] {
            let host = HostFacts {
                lockdown: text.map(str::to_owned),
                ..HostFacts::default()
            };
            let line = lockdown(&host);
            assert_eq!(line.is_ok(), is_ok, "{line}");
            assert!(line.to_string().contains(words), "{line}");
        }
    }

    #[test]
    fn addresses_are_shown_or_hidden() {
        /// The first symbols of x86 have small addresses, or 0.
        const SHOWN: &str = "0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\n";
        const HIDDEN: &str = "0000000000000000 A fixed_percpu_data\n0000000000000000 T _text\n";
        #[track_caller]
        fn check(table: Option<&str>, limit: &str, is_root: bool, words: Option<&str>) {
            let host = HostFacts {
                kallsyms: table.map(str::to_owned),
                kptr_restrict: Some(format!("{limit}\n")),
                is_root,
                ..HostFacts::default()
            };
            let line = symbols(&host);
            assert_eq!(line.is_ok(), words.is_none(), "{line}");
            assert!(line.to_string().contains(words.unwrap_or(limit)), "{line}");
        }
        check(Some(SHOWN), "1", true, None);
        check(Some(SHOWN), "0", false, None);
        check(Some(HIDDEN), "1", false, Some("sudo dwdump"));
        check(
            Some(HIDDEN),
            "2",
            true,
            Some("sysctl kernel.kptr_restrict=1"),
        );
        check(Some(HIDDEN), "1", true, Some("on the host"));
        check(Some(""), "", true, Some("is unknown"));
        check(None, "1", true, Some("CONFIG_KALLSYMS"));
    }
}
