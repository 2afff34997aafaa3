//! The parts of the kernel that are there already, so that asking them loads nothing.

use std::path::Path;

use super::Unseen;

/// Returns whether a part of the kernel is there: asking it then loads no module. `name` is the module's, with
/// underscores.
pub fn is_there(name: &str) -> bool {
    // Without this file the kernel has no modules at all: what is not built in cannot be loaded.
    let Ok(loaded) = std::fs::read_to_string("/proc/modules") else {
        return !Path::new("/proc/modules").exists() && Path::new("/proc/net").exists();
    };
    loaded
        .lines()
        .any(|line| line.split(' ').next() == Some(name))
        || is_built_in(name)
}

/// Fails where asking a part of the kernel could load it.
pub fn must_be_there(name: &str) -> Result<(), Unseen> {
    if is_there(name) {
        return Ok(());
    }
    Err(Unseen::Absent(format!("the module {name} is not loaded")))
}

/// Returns whether the list of what is built into the running kernel has a module. Its lines are paths:
/// `kernel/net/netfilter/nf_tables.ko`.
fn is_built_in(name: &str) -> bool {
    let Ok(system) = nix::sys::utsname::uname() else {
        return false;
    };
    let file = Path::new("/lib/modules")
        .join(system.release())
        .join("modules.builtin");
    std::fs::read_to_string(file).is_ok_and(|text| has_built_in(&text, name))
}

fn has_built_in(list: &str, name: &str) -> bool {
    list.lines().any(|line| {
        let file = line.rsplit('/').next().unwrap_or_default();
        file.strip_suffix(".ko")
            .is_some_and(|file| file.replace('-', "_") == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_modules_are_those_of_the_list() {
        let list =
            "kernel/net/netfilter/nf_tables.ko\nkernel/fs/binfmt_misc.ko\nkernel/a/cls-u32.ko\n";
        for name in ["nf_tables", "binfmt_misc", "cls_u32"] {
            assert!(has_built_in(list, name), "{name}");
        }
        for name in ["nf_table", "tables", "netfilter", "kernel", ""] {
            assert!(!has_built_in(list, name), "{name}");
        }
    }
}
