//! Shortens the paths that a compiler recorded to the form that kernel developers use:
//! `net/ipv4/ip_input.c`.

/// The top folders of the kernel's source.
const TOP: [&str; 22] = [
    "arch", "block", "certs", "crypto", "drivers", "fs", "include", "init", "io_uring", "ipc",
    "kernel", "lib", "mm", "net", "rust", "samples", "scripts", "security", "sound", "tools",
    "ubuntu", "virt",
];

/// Returns `net/ipv4/gre_demux.c` for any path of that file; `folder` is the folder in which the
/// compiler ran. Files outside the kernel's source keep their path.
pub fn shorten(path: &str, folder: &str) -> String {
    let parts = normalize(path);
    let common = normalize(folder)
        .iter()
        .zip(&parts)
        .take_while(|(one, other)| one == other)
        .count();
    let is_top = |part: &&str| TOP.contains(part);
    // The compiler ran in the source, or below it (Debian: in debian/build/…).
    if parts.get(common).is_some_and(is_top) {
        return parts[common..].join("/");
    }
    // The compiler ran beside the source: `…/linux-6.1.192/net/…`.
    let source = parts.windows(2).rposition(|pair| {
        (pair[0].starts_with("linux") || pair[0].starts_with("kernel")) && is_top(&pair[1])
    });
    match source {
        Some(place) => parts[place + 1..].join("/"),
        None if path.starts_with('/') => format!("/{}", parts.join("/")),
        None => parts.join("/"),
    }
}

/// Returns the parts of a path without `.`, and without `..` as far as a part precedes it.
fn normalize(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_kernels_source() {
        #[track_caller]
        fn check(path: &str, folder: &str, short: &str) {
            assert_eq!(shorten(path, folder), short);
        }
        let gre = "net/ipv4/gre_demux.c";
        // In the source itself.
        check(
            "/home/net/linux/net/ipv4/gre_demux.c",
            "/home/net/linux",
            gre,
        );
        check("/src/./net/ipv4/../ipv4/gre_demux.c", "/src", gre);
        check(gre, "", gre);
        // Debian: relative, or absolute and below the source.
        let below = "debian/build/build_amd64_none_amd64";
        check(&format!("{below}/{gre}"), below, gre);
        let source = "/build/reproducible-path/linux-6.1.192";
        check(
            &format!("{source}/{gre}"),
            &format!("{source}/{below}"),
            gre,
        );
        check(
            &format!("{source}/{below}/../../../{gre}"),
            &format!("{source}/{below}"),
            gre,
        );
        // A folder of its own beside the source.
        check("/home/u/linux/net/ipv4/gre_demux.c", "/home/u/build", gre);
        check(
            "/usr/src/debug/kernel-6.12/linux-6.12.5-200.fc41.x86_64/net/ipv4/gre_demux.c",
            "/builddir/build",
            gre,
        );
        // A module that is not part of the kernel's source.
        check(
            "/var/lib/dkms/tun2/1.0/build/tun2.c",
            "/usr/src/linux-headers-6.1",
            "/var/lib/dkms/tun2/1.0/build/tun2.c",
        );
        check("", "", "");
        check("../../x.c", "", "../../x.c");
    }
}
