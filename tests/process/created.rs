//! Files that the program creates, and those that were there before.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::{check_status, shell, text};

/// The mode of a file, and whose it is.
const SHOW: &str = "stat -c '%a %u:%g' out.pcapng";

#[test]
fn a_new_file_is_for_its_owner_alone() {
    for format in ["", "--format pcap", "--format netlink"] {
        let output = shell(&format!(
            "umask 022; $dwdump -r $small -w out.pcapng {format} && {SHOW}"
        ));
        check_status(&output, 0);
        assert!(text(&output.stdout).starts_with("600 "));
    }
}

#[test]
fn under_sudo_a_new_file_is_the_users() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().metadata().unwrap();
    let own = format!("{}:{}", own.uid(), own.gid());
    let users = if nix::unistd::geteuid().is_root() {
        "12345:12346"
    } else {
        // Nobody else can give files away, nor is root.
        &own
    };
    for (variables, owner) in [
        ("SUDO_UID=12345 SUDO_GID=12346", users),
        ("SUDO_UID=12345", &own),
        ("SUDO_UID=12345 SUDO_GID=", &own),
        ("SUDO_UID=-1 SUDO_GID=12346", &own),
        ("SUDO_UID=4294967295 SUDO_GID=12346", &own),
    ] {
        let output = shell(&format!(
            "{variables} $dwdump -r $small -w out.pcapng && {SHOW}"
        ));
        check_status(&output, 0);
        let shown = text(&output.stdout);
        assert_eq!(shown, format!("600 {owner}\n"), "{variables}");
    }
}

#[test]
fn a_file_that_was_there_keeps_its_mode_and_owner_and_its_length_is_new() {
    let output = shell(&format!(
        "head -c 1000000 /dev/zero >out.pcapng; chmod 664 out.pcapng; {SHOW}
        SUDO_UID=12345 SUDO_GID=12346 $dwdump -r $small -w out.pcapng && {SHOW}
        $dwdump -r out.pcapng --print | wc -l"
    ));
    check_status(&output, 0);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(lines[0].starts_with("664 "));
    assert_eq!(lines[1], lines[0]);
    assert_eq!(lines[2], "5");
}

#[test]
fn a_run_that_cannot_begin_changes_and_leaves_no_file() {
    for input in ["none", "/dev/null"] {
        let output = shell(&format!(
            "echo kept >old
            $dwdump -r {input} -w new 2>/dev/null; echo $?
            $dwdump -r {input} -w old 2>/dev/null; echo $?
            cat old; ls"
        ));
        assert_eq!(
            text(&output.stdout),
            "1\n1\nkept\nbig.pcap\nold\n",
            "{input}"
        );
    }
}

#[test]
fn a_link_to_a_file_that_is_not_there_creates_it() {
    let output = shell("ln -s there link; $dwdump -r $small -w link && $dwdump -r there --print");
    check_status(&output, 0);
    assert_eq!(text(&output.stdout).lines().count(), 5);
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "ln -s {0}/there link; SUDO_UID=1 $dwdump -r $small -w link",
        folder.path().display()
    );
    check_status(&shell(&line), 0);
    let mode = folder
        .path()
        .join("there")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
