//! The programs that others have attached.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsFd, BorrowedFd};

use super::{BpfArguments, OBJ_GET_INFO_BY_FD, bpf, number, open, pair};

const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const LINK_GET_NEXT_ID: libc::c_long = 31;
/// The most links that are asked about.
const MAX_LINKS: usize = 10_000;
/// `BPF_F_QUERY_EFFECTIVE`
const EFFECTIVE: u32 = 1;
/// The most programs of an answer: a cgroup has at most 64 of a kind, as has a device.
const MAX_PROGRAMS: usize = 512;

/// A place at which programs are attached to a control group (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupHook {
    /// `BPF_CGROUP_INET_INGRESS`
    Ingress = 0,
    /// `BPF_CGROUP_INET_EGRESS`
    Egress = 1,
}

/// A place at which programs are attached to a device (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcxHook {
    /// `BPF_TCX_INGRESS`
    Ingress = 46,
    /// `BPF_TCX_EGRESS`
    Egress = 47,
}

/// Returns the numbers of the programs at tcx of the device with this ifindex. Before Linux 6.6, `EINVAL`.
pub fn tcx_programs(device: u32, hook: TcxHook) -> io::Result<Vec<u32>> {
    query(device, hook as u32, 0)
}

/// Returns the numbers of the programs that links hold, which alone can take them off. Only CAP_SYS_ADMIN may ask.
pub fn linked_programs() -> io::Result<Vec<u32>> {
    /// The word of `struct bpf_link_info` whose first half is the program.
    const PROGRAM: usize = 1;
    /// The words of it that are asked for.
    const LEN: usize = 4;
    let mut programs = Vec::new();
    let mut id = 0;
    while programs.len() < MAX_LINKS {
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(id, 0);
        // SAFETY: there are no addresses among these arguments.
        match unsafe { bpf(LINK_GET_NEXT_ID, &mut attributes) } {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(programs),
            Err(error) => return Err(error),
        }
        // The second half of the word is the next number.
        let [_, _, _, _, next @ ..] = attributes[0].to_ne_bytes();
        id = u32::from_ne_bytes(next);
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(id, 0);
        // SAFETY: there are no addresses among these arguments.
        let Ok(link) = (unsafe { open(LINK_GET_FD_BY_ID, &mut attributes) }) else {
            // It is gone meanwhile.
            continue;
        };
        let mut info = [0_u64; LEN];
        let len = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(number(link.as_fd()), len);
        attributes[1] = info.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the kernel writes at most as many bytes as it is told, the length of `info`; the addresses in
        // there, to which it would write more, are null.
        unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
        let [a, b, c, d, ..] = info[PROGRAM].to_ne_bytes();
        programs.push(u32::from_ne_bytes([a, b, c, d]));
    }
    Err(io::Error::other("too many links"))
}

/// Returns the numbers of the programs of a control group, whose folder is open; with those of the groups above
/// it that run for it as well if they are to be `effective`.
pub fn cgroup_programs(
    folder: BorrowedFd<'_>,
    hook: CgroupHook,
    effective: bool,
) -> io::Result<Vec<u32>> {
    let flags = if effective { EFFECTIVE } else { 0 };
    query(number(folder), hook as u32, flags)
}

fn query(target: u32, kind: u32, flags: u32) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; MAX_PROGRAMS];
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(target, kind);
    attributes[1] = pair(flags, 0);
    attributes[2] = programs.as_mut_ptr().expose_provenance() as u64;
    attributes[3] = pair(u32::try_from(programs.len()).map_err(io::Error::other)?, 0);
    // SAFETY: the kernel writes as many numbers as it is told at most, the length of `programs`; all other
    // addresses are null.
    unsafe { bpf(PROG_QUERY, &mut attributes) }?;
    // The first half of the word says how many there are.
    let count = attributes[3]
        .to_ne_bytes()
        .first_chunk()
        .map_or(0, |&half| u32::from_ne_bytes(half));
    let count = usize::try_from(count).map_err(io::Error::other)?;
    Ok(programs[..count.min(programs.len())].to_vec())
}

/// Returns the name of a program, which may be empty. Only CAP_SYS_ADMIN may ask.
pub fn program_name(id: u32) -> io::Result<Vec<u8>> {
    /// Words of `struct bpf_prog_info`, and those of them that are its name.
    const LEN: usize = 10;
    const NAME: std::ops::Range<usize> = 8..10;
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(id, 0);
    // SAFETY: there are no addresses among these arguments.
    let program = unsafe { open(PROG_GET_FD_BY_ID, &mut attributes) }?;
    let mut info = [0_u64; LEN];
    let len = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(number(program.as_fd()), len);
    attributes[1] = info.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes at most as many bytes as it is told, the length of `info`; the addresses in
    // there, to which it would write more, are null.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let name: Vec<u8> = info[NAME]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let end = name.iter().position(|&byte| byte == 0);
    Ok(name[..end.unwrap_or(name.len())].to_vec())
}
