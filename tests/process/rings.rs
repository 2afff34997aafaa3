//! Files that follow one another, and drops around a match; from files, so that nothing depends on the time.

use crate::{check_status, shell, text};

/// Prints how many packets each file of a glob has, and its name.
const COUNTS: &str =
    "for file in out*; do echo $file $($dwdump -r $file --print 2>/dev/null | wc -l); done";

/// The files and the packets of each.
fn counts(shown: &str) -> Vec<(&str, u64)> {
    let lines = shown.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect()
}

#[test]
fn each_packet_is_in_one_file_in_any_format() {
    for (name, size, options) in [
        ("out.pcapng", "20k", ""),
        ("out.pcap", "20k", ""),
        ("out.pcap", "20k", "--link-type ethernet"),
        ("out.pcapng.gz", "20k", ""),
        // It compresses repetitions well.
        ("out.zst", "2k", "--format pcap"),
    ] {
        let output = shell(&format!(
            "$dwdump -r $big --print 2>/dev/null | wc -l
            $dwdump -r $big -w {name} -C {size} {options} 2>/dev/null || exit; {COUNTS}"
        ));
        check_status(&output, 0);
        let (all, shown) = text(&output.stdout).split_once('\n').unwrap();
        let counts = counts(shown);
        let sum: u64 = counts.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, all.trim().parse().unwrap(), "{name} {options}");
        assert!(counts.len() > 1, "{name} {options}: {counts:?}");
        assert!(counts.iter().all(|(_, count)| *count > 0), "{counts:?}");
        assert_eq!(counts[0].0, name);
        assert_eq!(counts[1].0, format!("{name}1"));
    }
}

#[test]
fn the_last_files_of_a_ring_have_the_last_packets() {
    let output = shell(&format!(
        "$dwdump -r $big -w all.pcapng 2>/dev/null
        $dwdump -r $big -w out.pcapng -C 20k -W 12 2>/dev/null; {COUNTS}
        ls -t out* | wc -l; $dwdump -r all.pcapng --print --nano 2>/dev/null | tail -n 1 >last
        cat out* >merged; for file in out*; do
            $dwdump -r $file --print --nano 2>/dev/null | tail -n 1 | cmp -s - last && echo found
        done"
    ));
    check_status(&output, 0);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("out.pcapng00 ") && shown.contains("out.pcapng11 "),
        "{shown}"
    );
    assert!(shown.contains("\n12\n"), "{shown}");
    assert!(
        shown.ends_with("found\n") && shown.matches("found").count() == 1,
        "{shown}"
    );
}

#[test]
fn each_file_says_where_it_belongs_and_what_it_lacks() {
    let output = shell(
        "$dwdump -r $big -w out.pcapng -C 500k
        for file in out.pcapng out.pcapng1; do echo $file; grep -ao 'ring: [ -~]*' $file; done",
    );
    check_status(&output, 0);
    let shown = text(&output.stdout);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], "out.pcapng");
    assert!(
        lines[1].starts_with("ring: file 1 of the run that began 20"),
        "{shown}"
    );
    assert!(
        lines[3].starts_with("ring: file 2 of the run that began 20"),
        "{shown}"
    );
    assert!(lines[3].ends_with("Z, after out.pcapng"), "{shown}");
    assert!(
        text(&output.stderr).contains("to out.pcapng (pcapng), another file after 512000 bytes")
    );
}

#[test]
fn the_oldest_files_make_room_and_no_others() {
    let output = shell(&format!(
        "echo mine >out.pcapng0; echo mine >out.other
        $dwdump -r $big -w out.pcapng -C 20k --max-total 100k; ls out*; cat out.other out.pcapng0
        du -bc out.pcapng?* | tail -n 1; {COUNTS}"
    ));
    check_status(&output, 0);
    let shown = text(&output.stdout);
    assert!(shown.contains("mine\nmine\n"), "{shown}");
    let total = shown.lines().find(|line| line.ends_with("total")).unwrap();
    let total: u64 = total.split('\t').next().unwrap().parse().unwrap();
    assert!((60_000..=102_400 + 5).contains(&total), "{shown}");
    assert!(!shown.lines().any(|line| line == "out.pcapng"), "{shown}");
}

#[test]
fn a_file_that_somebody_else_removed_has_made_room() {
    let output = shell(
        "(head -c 100000 $big; sleep 1; rm out.pcapng out.pcapng1; tail -c +100001 $big) |
        $dwdump -r - -w out.pcapng -C 20k --max-total 200k; ls out.pcapng2 out.pcapng3",
    );
    // They made room too.
    assert_eq!(text(&output.stdout), "");
    let errors = text(&output.stderr);
    assert!(!errors.contains("--max-total: "), "{errors}");
}

#[test]
fn a_command_has_each_finished_file_and_its_failure_is_told() {
    let output = shell(&format!(
        "$dwdump -r $big -w out.pcapng -C 20k -z gzip; echo $?; ls out* | grep -vc 'gz$'; {COUNTS}
        $dwdump -r $small -w last.pcapng -C 1M -z false; $dwdump -r $small -w last.pcapng -C 1M -z ./none"
    ));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("0\n0\nout.pcapng.gz "), "{shown}");
    let errors = text(&output.stderr);
    assert!(
        errors.contains("dwdump: `false last.pcapng` failed: exit status: 1\n"),
        "{errors}"
    );
    assert!(
        errors.contains("dwdump: cannot run `./none last.pcapng`: No such file or directory\n"),
        "{errors}"
    );
}

#[test]
fn compressed_files_make_room_too() {
    let output = shell(
        "$dwdump -r $big -w out.pcapng -C 20k -z gzip 2>/dev/null; ls out* | wc -l; rm out*
        $dwdump -r $big -w out.pcapng -C 20k -z gzip --max-total 60k 2>&1 | grep remove; ls out* | wc -l",
    );
    let counts: Vec<u64> = text(&output.stdout)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(counts[1] < counts[0] / 2, "{counts:?}");
}

#[test]
fn nothing_is_written_to_the_file_that_is_read_nor_to_what_is_no_file() {
    let output = shell(
        "cp $big in.pcap1; sum=$(cksum <in.pcap1)
        $dwdump -r in.pcap1 -w in.pcap -C 20k; echo $?; [ \"$sum\" = \"$(cksum <in.pcap1)\" ] && echo whole
        mkfifo pipe; cat pipe & $dwdump -r $small -w pipe -C 1; echo $?
        mkdir x.pcap1; $dwdump -r $big -w x.pcap -C 20k; echo $?; $dwdump -r x.pcap --print 2>/dev/null | wc -l",
    );
    let shown = text(&output.stdout);
    assert!(shown.starts_with("1\nwhole\n2\n1\n"), "{shown}");
    assert!(!shown.ends_with("\n0\n"), "{shown}");
    let errors = text(&output.stderr);
    assert!(
        errors.contains("cannot create in.pcap1: it is the file that is read"),
        "{errors}"
    );
    assert!(errors.contains("pipe is not a regular file"), "{errors}");
    assert!(
        errors.contains("cannot create x.pcap1: Is a directory"),
        "{errors}"
    );
}

#[test]
fn under_sudo_each_file_is_the_users() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give files away");
        return;
    }
    let output = shell(
        "SUDO_UID=12345 SUDO_GID=12346 $dwdump -r $big -w out.pcapng -C 20k 2>/dev/null
        stat -c '%a %u:%g' out* | sort | uniq -c | wc -l; stat -c '%a %u:%g' out.pcapng1",
    );
    assert_eq!(text(&output.stdout), "1\n600 12345:12346\n");
}

#[test]
fn only_what_surrounds_a_match_is_kept() {
    let output = shell(
        "$dwdump -r $big --print --utc 2>/dev/null >all
        $dwdump -r $big -w out.pcapng --trigger 'trap *' --before 1 --after 1; $dwdump -r out.pcapng --print --utc 2>/dev/null | cmp - all && echo all
        $dwdump -r $big -w out.pcapng --trigger 'reason never_there' --before 1 --after 1; $dwdump -r out.pcapng --print 2>/dev/null | wc -l
        $dwdump -r $big -w out.pcapng --trigger 'trap (' --before 1 --after 1; echo $?",
    );
    let shown = text(&output.stdout);
    assert_eq!(shown, "all\n0\n2\n");
    let errors = text(&output.stderr);
    assert!(errors.contains("0 packets matched --trigger\n"), "{errors}");
    assert!(errors.contains("packets not near one\n"), "{errors}");
}
