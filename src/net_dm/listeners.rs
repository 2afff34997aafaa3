//! Finds the other listeners of the drop monitor in `/proc/net/netlink`, which every user can read.

use std::io;

use super::GROUP_ID;

/// Generic netlink's number (`NETLINK_GENERIC`, linux/netlink.h).
const NETLINK_GENERIC: &str = "16";

/// A socket in the drop monitor's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The netlink port.
    pub port: u32,
    /// The inode, by which its process is found.
    pub inode: u64,
}

/// Counts the members of the drop monitor's group, without the socket that has the netlink port
/// `own`.
pub fn others(own: u32) -> io::Result<usize> {
    let members = members()?.into_iter();
    Ok(members.filter(|member| member.port != own).count())
}

/// Returns the members of the drop monitor's group.
pub fn members() -> io::Result<Vec<GroupMember>> {
    let table = std::fs::read_to_string("/proc/net/netlink")?;
    Ok(members_of(&table).collect())
}

/// Returns the sockets in the group. The group's number is the same on every
/// host (`NET_DM_GRP_ALERT`), and no other family has it (`genl_validate_assign_mc_groups`,
/// net/netlink/genetlink.c).
fn members_of(table: &str) -> impl Iterator<Item = GroupMember> {
    table.lines().filter_map(|line| {
        // `sk Eth Pid Groups … Inode` (netlink_native_seq_show, net/netlink/af_netlink.c).
        let mut columns = line.split_ascii_whitespace().skip(1);
        let protocol = columns.next()?;
        let port = columns.next()?.parse().ok()?;
        let groups = u32::from_str_radix(columns.next()?, 16).ok()?;
        let is_member = protocol == NETLINK_GENERIC && groups & 1 << (GROUP_ID - 1) != 0;
        let inode = columns.last()?.parse().ok()?;
        is_member.then_some(GroupMember { port, inode })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_the_group_are_found() {
        let table = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000a1b2c3d4 0   512        00000551 0        0        0     2        0        18230
00000000a1b2c3d5 16  3001       00000001 0        0        0     2        0        18231
00000000a1b2c3d6 16  3002       00000000 0        0        0     2        0        18232
00000000a1b2c3d7 16  4294963201 00000003 0        0        0     2        7        18233
00000000a1b2c3d8 15  3003       00000001 0        0        0     2        0        18234
00000000a1b2c3d9 16  3004       00000002 0        0        0     2        0        18235
";
        let found: Vec<_> = members_of(table)
            .map(|member| (member.port, member.inode))
            .collect();
        assert_eq!(found, [(3001, 18231), (4_294_963_201, 18233)]);
    }
}
