//! The profile `Drops`: columns, colours and filter buttons that use the plug-in's fields.

use std::fmt::Write;

/// The profile's name, and that of its folder.
pub(crate) const NAME: &str = "Drops";

/// Columns of the packet list: title, format, and pixels at first.
const COLUMNS: &[(&str, &str, u16)] = &[
    ("No.", "%m", 50),
    ("Time", "%t", 105),
    ("Cause", "%Cus:drop.cause:0:R", 150),
    ("Function", "%Cus:drop.function:0:R", 180),
    ("Interface", "%Cus:frame.interface_name:0:R", 75),
    ("Source", "%s", 160),
    ("Destination", "%d", 160),
    ("Protocol", "%p", 65),
    ("Length", "%L", 60),
    ("Info", "%i", 350),
];

/// Colouring rules: name, filter, background and foreground, of 16 bits a colour.
const COLORS: &[(&str, &str, &str, &str)] = &[
    (
        "Drop: trouble",
        "drop.verdict == \"trouble\"",
        "65535,55769,55769",
        "24929,0,0",
    ),
    (
        "Drop: depends",
        "drop.verdict == \"depends\"",
        "65535,62708,52428",
        "16962,10794,0",
    ),
    (
        "Drop: noise",
        "drop.verdict == \"noise\"",
        "61423,61423,61423",
        "26214,26214,26214",
    ),
    (
        "Drop: by a device",
        "drop.origin == \"hardware\"",
        "58339,61166,65535",
        "0,10280,24929",
    ),
];

/// Filter buttons: label and filter.
const BUTTONS: &[(&str, &str)] = &[
    ("Trouble", "drop.verdict == \"trouble\""),
    ("Depends", "drop.verdict == \"depends\""),
    ("No noise", "drop && !(drop.verdict == \"noise\")"),
    (
        "Firewall",
        "drop.reason in {\"NETFILTER_DROP\", \"BPF_CGROUP_EGRESS\", \"SOCKET_FILTER\", \"XDP\", \"TC_INGRESS\", \"TC_EGRESS\"}",
    ),
    (
        "No reason",
        "drop.origin == \"software\" && (!drop.reason || drop.reason == \"NOT_SPECIFIED\")",
    ),
    ("Hardware", "drop.origin == \"hardware\""),
];

/// Returns the files of the profile's folder: names and contents.
pub(crate) fn files() -> [(&'static str, String); 4] {
    [
        ("preferences", preferences()),
        ("colorfilters", color_filters()),
        ("dfilter_buttons", filter_buttons()),
        ("recent", recent()),
    ]
}

fn preferences() -> String {
    let mut text = String::from("# Written by dwdump.\ngui.column.format: \n");
    for (position, (title, format, _)) in COLUMNS.iter().enumerate() {
        let comma = if position + 1 < COLUMNS.len() {
            ","
        } else {
            ""
        };
        let _ = writeln!(text, "\t\"{title}\", \"{format}\"{comma}");
    }
    text
}

/// The widths of columns, where Wireshark keeps them from one start to the next.
fn recent() -> String {
    let width = |(_, format, pixels): &(&str, &str, u16)| {
        let format = format.trim_end_matches(":0:R");
        format!("{format}, {pixels}")
    };
    let widths: Vec<_> = COLUMNS.iter().map(width).collect();
    format!(
        "# Written by dwdump, then by Wireshark.\ncolumn.width: {}\n",
        widths.join(", ")
    )
}

fn color_filters() -> String {
    let mut text = String::from("# Written by dwdump.\n");
    for (name, filter, background, foreground) in COLORS {
        let _ = writeln!(text, "@{name}@{filter}@[{background}][{foreground}]");
    }
    text
}

fn filter_buttons() -> String {
    let mut text = String::from("# Written by dwdump.\n");
    for (label, filter) in BUTTONS {
        // The file's way to write a quotation mark.
        let filter = filter.replace('"', "\\x22");
        let _ = writeln!(text, "\"TRUE\",\"{label}\",\"{filter}\",\"\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_files_for_packages_are_the_programs() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/wireshark");
        for (name, content) in files() {
            let path = folder.join(name);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, content).unwrap();
                continue;
            }
            assert!(
                fs::read_to_string(&path).unwrap() == content,
                "{} is stale: UPDATE_GOLDEN=1 cargo test --lib wireshark::profile",
                path.display()
            );
        }
    }
}
