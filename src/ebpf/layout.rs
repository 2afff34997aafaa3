//! Looks up in BTF what a program needs of the running kernel: the offsets of the structure members that it
//! reads, and the tracepoint that it is attached to.

use super::assembler::AccessSize;
use super::btf::{Btf, NamedKind, TypeId};

/// A member of one of the kernel's structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelField {
    /// As C writes it: `skb->len`.
    pub name: &'static str,
    /// Bytes from the structure's beginning.
    pub offset: i16,
    /// The number of bytes that are loaded.
    pub size: AccessSize,
}

/// A bit field of one of the kernel's structures: the byte that has it, and its bits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelBits {
    /// The byte.
    pub byte: KernelField,
    /// The bits.
    pub mask: u8,
}

/// The tracepoint and the members that the program reads. A kernel that lacks an optional one has no such
/// fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLayout {
    /// The type `btf_trace_kfree_skb`, which the program is attached to.
    pub tracepoint: TypeId,
    /// Its fourth argument is the receiving socket.
    pub has_receiver: bool,
    /// Bytes from `data` to the end, paged ones included.
    pub len: KernelField,
    /// Those of them that are not in the buffer but in pages.
    pub data_len: KernelField,
    /// The ifindex of the device that it came in by; 0 where it did not.
    pub input: KernelField,
    /// An ethertype, big-endian.
    pub protocol: KernelField,
    /// The link-layer header's offset from `head`; 65535 where there is none.
    pub mac_header: KernelField,
    /// The network header's offset from `head`; 0 where there is none.
    pub network_header: KernelField,
    /// The buffer's beginning.
    pub head: KernelField,
    /// The first byte that `len` counts.
    pub data: KernelField,
    /// The device, or whatever else the same bytes hold at the moment.
    pub device: KernelField,
    /// The device's index in its namespace.
    pub device_index: KernelField,
    /// The device's hardware type (`ARPHRD_`).
    pub device_type: KernelField,
    /// The device's name: 16 bytes (`IFNAMSIZ`).
    pub device_name: KernelField,
    /// The device's network namespace.
    pub device_namespace: KernelField,
    /// The namespace's inode.
    pub namespace_inode: KernelField,
    /// The mark of firewalls and routing.
    pub mark: Option<KernelField>,
    /// To whom the packet is addressed (`PACKET_HOST` and others).
    pub packet_type: Option<KernelBits>,
    /// The tag that a device took off.
    pub vlan: Option<VlanLayout>,
    /// The socket that owns the packet, and its members.
    pub socket: Option<SocketLayout>,
    /// The kernel has cgroups.
    pub has_cgroups: bool,
}

/// The members of `struct sk_buff` that hold a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanLayout {
    /// The tag's ethertype, big-endian.
    pub protocol: KernelField,
    /// Priority and number.
    pub tag: KernelField,
    /// The bit that tells of one, before 6.2. Since then, there is one if either of the others is not 0.
    pub present: Option<KernelBits>,
}

/// The members that describe a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLayout {
    /// The socket.
    pub socket: KernelField,
    /// `AF_INET` and others.
    pub family: KernelField,
    /// `TCP_ESTABLISHED` and others.
    pub state: KernelField,
    /// The local port, in the machine's byte order.
    pub port: KernelField,
    /// The other end's port, big-endian.
    pub peer_port: KernelField,
    /// Its network namespace.
    pub namespace: KernelField,
    /// `SOCK_STREAM` and others. A socket that is not whole has none.
    pub kind: KernelField,
    /// `IPPROTO_TCP` and others, likewise. At most six bytes before or behind the kind.
    pub protocol: KernelField,
    /// Its cgroup, and that one's number.
    pub cgroup: Option<CgroupLayout>,
}

/// The members that lead from a socket to the number of its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupLayout {
    /// The socket's cgroup. A socket that is not whole has none.
    pub cgroup: KernelField,
    /// Its directory.
    pub node: KernelField,
    /// The directory's number.
    pub number: KernelField,
}

/// Bytes of a device's name (`IFNAMSIZ`, linux/if.h).
pub const DEVICE_NAME_LEN: usize = 16;

/// The reason for which the program cannot be made for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// BTF has no type of this name.
    #[error("this kernel's BTF has no {0}")]
    NoType(&'static str),
    /// A structure has no such member, or it has an unexpected size or offset.
    #[error("this kernel's BTF has no {0} of the expected size")]
    NoMember(&'static str),
    /// The tracepoint has another number of arguments.
    #[error("this kernel's tracepoint skb:kfree_skb has {0} arguments, without the drop reason")]
    Arguments(usize),
}

/// A structure whose members are looked up.
#[derive(Clone, Copy)]
struct KernelStruct<'b> {
    btf: &'b Btf<'b>,
    id: TypeId,
}

impl<'b> KernelStruct<'b> {
    fn find(btf: &'b Btf<'b>, name: &'static str) -> Result<Self, LayoutError> {
        let id = btf.find(NamedKind::Struct, name);
        let id = id.ok_or(LayoutError::NoType(name))?;
        Ok(Self { btf, id })
    }

    fn field(self, name: &'static str, path: &str, size: AccessSize) -> FieldResult {
        self.array(name, path, size.bytes(), size)
    }

    fn array(self, name: &'static str, path: &str, bytes: u32, size: AccessSize) -> FieldResult {
        let found = self.btf.member(self.id, path);
        let found = found.filter(|found| found.size == bytes);
        let offset = found.and_then(|found| i16::try_from(found.offset).ok());
        let offset = offset.ok_or(LayoutError::NoMember(name))?;
        Ok(KernelField { name, offset, size })
    }

    fn half(self, name: &'static str, path: &str) -> FieldResult {
        self.field(name, path, AccessSize::Half)
    }

    fn word(self, name: &'static str, path: &str) -> FieldResult {
        self.field(name, path, AccessSize::Word)
    }

    fn double(self, name: &'static str, path: &str) -> FieldResult {
        self.field(name, path, AccessSize::Double)
    }

    fn bits(self, name: &'static str, path: &str) -> Option<KernelBits> {
        let found = self.btf.bit_field(self.id, path)?;
        let offset = i16::try_from(found.offset).ok()?;
        let size = AccessSize::Byte;
        Some(KernelBits {
            byte: KernelField { name, offset, size },
            mask: found.mask,
        })
    }
}

type FieldResult = Result<KernelField, LayoutError>;

impl KernelLayout {
    /// Looks all members up.
    pub fn find(btf: &Btf<'_>) -> Result<Self, LayoutError> {
        let tracepoint = btf.find(NamedKind::Typedef, "btf_trace_kfree_skb");
        let tracepoint = tracepoint.ok_or(LayoutError::NoType("btf_trace_kfree_skb"))?;
        // The packet, the place, since 5.17 the reason, and since 6.11 the receiving socket.
        let arguments = btf.tracepoint_arguments(tracepoint).unwrap_or(0);
        if arguments < 3 {
            return Err(LayoutError::Arguments(arguments));
        }
        let packet = KernelStruct::find(btf, "sk_buff")?;
        let device = KernelStruct::find(btf, "net_device")?;
        let namespace = KernelStruct::find(btf, "net")?;
        Ok(Self {
            tracepoint,
            has_receiver: arguments > 3,
            len: packet.word("skb->len", "len")?,
            data_len: packet.word("skb->data_len", "data_len")?,
            input: packet.word("skb->skb_iif", "skb_iif")?,
            protocol: packet.half("skb->protocol", "protocol")?,
            mac_header: packet.half("skb->mac_header", "mac_header")?,
            network_header: packet.half("skb->network_header", "network_header")?,
            head: packet.double("skb->head", "head")?,
            data: packet.double("skb->data", "data")?,
            device: packet.double("skb->dev", "dev")?,
            device_index: device.word("dev->ifindex", "ifindex")?,
            device_type: device.half("dev->type", "type")?,
            device_name: device.array("dev->name", "name", 16, AccessSize::Double)?,
            device_namespace: device.double("dev->nd_net.net", "nd_net.net")?,
            namespace_inode: namespace.word("net->ns.inum", "ns.inum")?,
            mark: packet.word("skb->mark", "mark").ok(),
            packet_type: packet.bits("skb->pkt_type", "pkt_type"),
            vlan: VlanLayout::find(packet),
            socket: SocketLayout::find(btf, packet).ok(),
            has_cgroups: KernelStruct::find(btf, "cgroup").is_ok(),
        })
    }

    /// Returns all members.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn fields(&self) -> Vec<KernelField> {
        let mut fields = vec![
            self.len,
            self.data_len,
            self.input,
            self.protocol,
            self.mac_header,
            self.network_header,
            self.head,
            self.data,
            self.device,
            self.device_index,
            self.device_type,
            self.device_name,
            self.device_namespace,
            self.namespace_inode,
        ];
        fields.extend(self.mark);
        fields.extend(self.packet_type.map(|bits| bits.byte));
        if let Some(vlan) = self.vlan {
            fields.extend([vlan.protocol, vlan.tag]);
            fields.extend(vlan.present.map(|bits| bits.byte));
        }
        if let Some(of) = self.socket {
            fields.extend([of.socket, of.family, of.state, of.port, of.peer_port]);
            fields.extend([of.namespace, of.kind, of.protocol]);
            if let Some(CgroupLayout {
                cgroup,
                node,
                number,
            }) = of.cgroup
            {
                fields.extend([cgroup, node, number]);
            }
        }
        fields
    }
}

impl VlanLayout {
    fn find(packet: KernelStruct<'_>) -> Option<Self> {
        Some(Self {
            protocol: packet.half("skb->vlan_proto", "vlan_proto").ok()?,
            tag: packet.half("skb->vlan_tci", "vlan_tci").ok()?,
            present: packet.bits("skb->vlan_present", "vlan_present"),
        })
    }
}

impl SocketLayout {
    fn find(btf: &Btf<'_>, packet: KernelStruct<'_>) -> Result<Self, LayoutError> {
        let socket = KernelStruct::find(btf, "sock")?;
        let kind = socket.half("sk->sk_type", "sk_type")?;
        let protocol = socket.half("sk->sk_protocol", "sk_protocol")?;
        if protocol.offset.abs_diff(kind.offset) > 6 {
            return Err(LayoutError::NoMember("sk->sk_protocol"));
        }
        Ok(Self {
            socket: packet.double("skb->sk", "sk")?,
            family: socket.half("sk->skc_family", "__sk_common.skc_family")?,
            state: socket.field("sk->skc_state", "__sk_common.skc_state", AccessSize::Byte)?,
            port: socket.half("sk->skc_num", "__sk_common.skc_num")?,
            peer_port: socket.half("sk->skc_dport", "__sk_common.skc_dport")?,
            namespace: socket.double("sk->skc_net.net", "__sk_common.skc_net.net")?,
            kind,
            protocol,
            cgroup: CgroupLayout::find(btf, socket).ok(),
        })
    }

    /// Returns the number of bytes from the socket's beginning on that hold what every socket has.
    pub fn common_len(&self) -> i32 {
        let fields = [
            self.family,
            self.state,
            self.port,
            self.peer_port,
            self.namespace,
        ];
        let ends = fields.map(|field| i32::from(field.offset) + 8);
        ends.into_iter().fold(0, i32::max)
    }
}

impl CgroupLayout {
    fn find(btf: &Btf<'_>, socket: KernelStruct<'_>) -> Result<Self, LayoutError> {
        let cgroup = KernelStruct::find(btf, "cgroup")?;
        let node = KernelStruct::find(btf, "kernfs_node")?;
        Ok(Self {
            cgroup: socket.double("sk->sk_cgrp_data.cgroup", "sk_cgrp_data.cgroup")?,
            node: cgroup.double("cgroup->kn", "kn")?,
            number: node.double("kn->id", "id")?,
        })
    }
}
