//! The kernel's list of its functions.

use crate::record::{Name, Symbol};
use crate::symbol::kallsyms::Kallsyms;
use crate::symbol::sent::{Module, Sent};

/// Reads a list. Each address belongs to the function that a search through all lines finds, and what is shown of it
/// is parsed again as what it is.
pub fn file(bytes: &[u8]) {
    let Ok(Kallsyms::Visible(functions)) = Kallsyms::read(bytes) else {
        return;
    };
    let listed: Vec<_> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(line)
        .collect();
    assert_eq!(functions.len(), listed.len());
    // Each is compared with all: the first ones are enough.
    for (address, _) in listed.iter().take(10) {
        for pc in [
            *address,
            address.saturating_add(1),
            address.saturating_sub(1),
        ] {
            let nearest = listed.iter().map(|(start, _)| *start);
            let nearest = nearest.filter(|start| *start <= pc).max();
            let Some(place) = functions.find(pc) else {
                // It is unknown how long the last function is.
                assert!(nearest.is_none_or(|nearest| pc - nearest >= 64 * 1024));
                continue;
            };
            let nearest = nearest.expect("a function begins before it");
            assert_eq!(place.offset, pc - nearest);
            assert!(place.offset < place.size || pc == u64::MAX, "{place:?}");
            let first = listed.iter().find(|(start, _)| *start == nearest);
            assert_eq!(first.map(|(_, name)| *name), Some(place.function));
            let mut text = Vec::new();
            place.write(&mut text);
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
            let module = place.module.unwrap_or_default();
            if text.len() <= 39 || !place.function.iter().chain(module).all(is_plain) {
                continue;
            }
            let sent = Sent::new(Symbol(Name::new(&text).expect("a function has a name")));
            assert_eq!(sent.function, place.function);
            assert_eq!(
                (sent.offset, sent.size),
                (Some(place.offset), Some(place.size))
            );
            let module = place.module.map_or(Module::Kernel, Module::Named);
            assert_eq!(sent.module, module);
        }
    }
}

/// Returns the address and the name of the function in a line.
fn line(line: &[u8]) -> Option<(u64, &[u8])> {
    if line.len() > 1023 {
        return None;
    }
    let mut words = line.split(u8::is_ascii_whitespace);
    let mut words = words.by_ref().filter(|word| !word.is_empty());
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let is_hexadecimal = address.iter().all(u8::is_ascii_hexdigit);
    let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
    let is_code = [b"t", b"T", b"w", b"W"]
        .iter()
        .any(|letter| kind == *letter);
    let is_mapping = name[0] == b'$' || name.starts_with(b".L") || name.starts_with(b"L0");
    let module = words.next().unwrap_or(b"[]");
    let is_module = module.starts_with(b"[") && module.ends_with(b"]") && module.len() > 1;
    let is_function = is_hexadecimal && is_code && !is_mapping && is_module && address != 0;
    is_function.then_some((address, name))
}
