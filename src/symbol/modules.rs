//! Completes a cut module name from the list of loaded modules, `/proc/modules`, at a thousandth of
//! the cost of reading `/proc/kallsyms`.

use std::io::{self, BufRead};

/// Returns a sent symbol with its module's whole name, where nothing but that name was cut:
/// `ovs_dp_process_packet+0x12/0x1e0 [openv`. Returns `None` where more was cut, and where none or
/// several of the loaded modules have a name that begins so.
pub fn complete(sent: &[u8], modules: impl BufRead) -> io::Result<Option<Box<[u8]>>> {
    let Some(start) = sent.windows(2).position(|pair| pair == b" [") else {
        return Ok(None);
    };
    let (place, begin) = sent.split_at(start + 2);
    if !(place.contains(&b'+') && place.contains(&b'/')) {
        return Ok(None);
    }
    let begin = begin.strip_suffix(b"]").unwrap_or(begin);
    let mut found = None;
    for line in modules.split(b'\n') {
        let line = line?;
        let name = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        if name.starts_with(begin) && found.replace(name.to_vec()).is_some() {
            return Ok(None);
        }
    }
    Ok(found.map(|name| [place, &name, b"]"].concat().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &[u8] = b"pktgen 94208 0 - Live 0xffffffffc0a00000\n\
        openvswitch 212992 1 vport, Live 0x0000000000000000\n\
        nf_nat 1 1 - Live 0x0\nnf_nat_ftp 1 0 - Live 0x0\n";

    #[track_caller]
    fn check(sent: &str, whole: Option<&str>) {
        let found = complete(sent.as_bytes(), MODULES).unwrap();
        let found = found.map(|text| String::from_utf8(text.into()).unwrap());
        assert_eq!(found.as_deref(), whole);
    }

    #[test]
    fn a_cut_module_is_completed() {
        check(
            "pktgen_thread_worker+0x1067/0x1790 [pkt",
            Some("pktgen_thread_worker+0x1067/0x1790 [pktgen]"),
        );
        check("a+0x1/0x2 [openvswitch]", Some("a+0x1/0x2 [openvswitch]"));
        check("a+0x1/0x2 [nf_nat_f", Some("a+0x1/0x2 [nf_nat_ftp]"));
    }

    #[test]
    fn an_ambiguous_module_is_not_completed() {
        // The prefix fits two modules, all of them, or none.
        check("a+0x1/0x2 [nf_na", None);
        check("a+0x1/0x2 [", None);
        check("a+0x1/0x2 [gre", None);
        // More is missing than the module.
        check("a+0x1/0x2", None);
        check("a+0x1 [pkt", None);
        check("a [pkt", None);
        check("", None);
    }
}
