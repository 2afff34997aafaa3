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

/// The tracepoint and the members that the program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLayout {
    /// The type `btf_trace_kfree_skb`, which the program is attached to.
    pub tracepoint: TypeId,
    /// Bytes from `data` to the end, paged ones included.
    pub len: KernelField,
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

impl KernelLayout {
    /// Looks all members up.
    pub fn find(btf: &Btf<'_>) -> Result<Self, LayoutError> {
        let find = |kind, name| btf.find(kind, name).ok_or(LayoutError::NoType(name));
        let tracepoint = find(NamedKind::Typedef, "btf_trace_kfree_skb")?;
        // The packet, the place, and since 5.17 the reason.
        match btf.tracepoint_arguments(tracepoint).unwrap_or(0) {
            3.. => {}
            count => return Err(LayoutError::Arguments(count)),
        }
        let packet = find(NamedKind::Struct, "sk_buff")?;
        let device = find(NamedKind::Struct, "net_device")?;
        let namespace = find(NamedKind::Struct, "net")?;
        let member = |of, name, path, bytes, size| {
            let found = btf.member(of, path).filter(|found| found.size == bytes);
            let offset = found.and_then(|found| i16::try_from(found.offset).ok());
            let offset = offset.ok_or(LayoutError::NoMember(name))?;
            Ok(KernelField { name, offset, size })
        };
        let half = |of, name, path| member(of, name, path, 2, AccessSize::Half);
        let word = |of, name, path| member(of, name, path, 4, AccessSize::Word);
        let double = |of, name, path| member(of, name, path, 8, AccessSize::Double);
        Ok(Self {
            tracepoint,
            len: word(packet, "skb->len", "len")?,
            input: word(packet, "skb->skb_iif", "skb_iif")?,
            protocol: half(packet, "skb->protocol", "protocol")?,
            mac_header: half(packet, "skb->mac_header", "mac_header")?,
            network_header: half(packet, "skb->network_header", "network_header")?,
            head: double(packet, "skb->head", "head")?,
            data: double(packet, "skb->data", "data")?,
            device: double(packet, "skb->dev", "dev")?,
            device_index: word(device, "dev->ifindex", "ifindex")?,
            device_type: half(device, "dev->type", "type")?,
            device_name: member(device, "dev->name", "name", 16, AccessSize::Double)?,
            device_namespace: double(device, "dev->nd_net.net", "nd_net.net")?,
            namespace_inode: word(namespace, "net->ns.inum", "ns.inum")?,
        })
    }

    /// Returns all members.
    #[cfg(test)]
    pub fn fields(&self) -> [KernelField; 13] {
        [
            self.len,
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
        ]
    }
}
