//! The kernel's description of its own types.

use crate::ebpf::btf::{Btf, NamedKind};
use crate::ebpf::layout::KernelLayout;
use crate::ebpf::reasons::Reasons;

/// Looks up in types what the eBPF programs need of them.
pub fn types(bytes: &[u8]) {
    let Ok(vmlinux) = Btf::parse(bytes) else {
        return;
    };
    look(&vmlinux);
    // The same bytes as a module's, whose numbers go on.
    if let Ok(module) = Btf::parse_module(bytes, &vmlinux) {
        look(&module);
    }
}

fn look(types: &Btf<'_>) {
    if let Ok(layout) = KernelLayout::find(types) {
        for field in layout.fields() {
            assert!(i32::from(field.offset) >= 0);
        }
    }
    for name in ["sk_buff", "sock", "net_device", "net", "outer"] {
        if let Some(structure) = types.find(NamedKind::Struct, name) {
            for path in [
                "len",
                "ns.inum",
                "__sk_common.skc_family",
                "named.x",
                "a.b.c",
            ] {
                let found = types.member(structure, path);
                assert!(found.is_none_or(|it| it.offset.checked_add(it.size).is_some()));
            }
            if let Some(bits) = types.bit_field(structure, "pkt_type") {
                assert_ne!(bits.mask, 0);
            }
        }
    }
    let mut names = Reasons::empty();
    names.learn(types);
    for (number, name) in names.known().take(100) {
        assert!(!name.is_empty(), "{number}");
    }
}
