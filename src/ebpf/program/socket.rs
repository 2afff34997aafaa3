//! The socket of a drop: the receiver where the kernel knows it, else the owner of the packet.

use super::super::assembler::{AccessSize, AluOp, EbpfOperand, JumpCondition, JumpLabel, Register};
use super::super::layout::{CgroupLayout, KernelField};
use super::super::report::{self, HEADER_LEN, SocketRole, TCP_NEW_SYN_RECV, TCP_TIME_WAIT};
use super::{CONTEXT, ProgramWriter, R1, R3, RECORD, SKB, STACK};

/// The place in the record where members of the socket are copied to for a moment: where the packet's headers
/// come later.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "less than 192"
)]
const MEMBERS: i16 = HEADER_LEN as i16;
/// The stack's place of the socket's address.
const SOCKET: i16 = -24;

impl ProgramWriter<'_> {
    /// Copies what describes the socket, and the number of its cgroup in place of the running task's.
    ///
    /// The kernel's verifier takes a tracepoint's argument for a pointer that is never null (6.11, 6.12), and
    /// `skb->sk` for one to a socket, though a fragment keeps a number in the same bytes (before 6.9). So both
    /// become plain numbers here, and what they lead to is copied: that comes to no harm, whatever it is.
    pub(super) fn socket(&mut self) {
        let Some(layout) = self.layout.socket else {
            self.tell(report::SOCKET_ROLE, EbpfOperand::Number(0));
            return;
        };
        let end = self.assembler.label();
        let none = EbpfOperand::Number(0);
        self.find_socket(layout.socket, end);
        let asm = &mut self.assembler;
        asm.store(AccessSize::Double, STACK, SOCKET, EbpfOperand::Register(R3));
        self.read(MEMBERS, layout.common_len());
        for (field, place) in [
            (layout.family, report::SOCKET_FAMILY),
            (layout.port, report::SOCKET_PORT),
            (layout.peer_port, report::SOCKET_PEER_PORT),
        ] {
            self.member(R1, field.offset, field.size, field.name);
            self.tell(place, EbpfOperand::Register(R1));
        }
        let namespace = layout.namespace;
        self.member(R3, namespace.offset, namespace.size, namespace.name);
        let inode = self.layout.namespace_inode;
        self.go_on(inode.offset, inode.name);
        self.read(report::SOCKET_NAMESPACE.at, 4);
        for place in [report::SOCKET_KIND, report::SOCKET_PROTOCOL] {
            self.tell(place, none);
        }
        let state = layout.state;
        self.member(R1, state.offset, state.size, state.name);
        self.tell(report::SOCKET_STATE, EbpfOperand::Register(R1));
        for state in [TCP_TIME_WAIT, TCP_NEW_SYN_RECV] {
            let state = EbpfOperand::Number(state.into());
            self.assembler.branch(JumpCondition::Equal, R1, state, end);
        }

        // What only a whole socket has.
        let fields = [
            (layout.kind, report::SOCKET_KIND),
            (layout.protocol, report::SOCKET_PROTOCOL),
        ];
        let first = layout.kind.offset.min(layout.protocol.offset);
        self.follow_socket(first, layout.kind.name);
        self.read(MEMBERS, 8);
        for (field, place) in fields {
            self.member(R1, field.offset - first, field.size, field.name);
            self.tell(place, EbpfOperand::Register(R1));
        }
        if let Some(CgroupLayout {
            cgroup,
            node,
            number,
        }) = layout.cgroup
        {
            self.follow_socket(cgroup.offset, cgroup.name);
            for next in [node, number] {
                self.read(MEMBERS, 8);
                self.member(R3, 0, AccessSize::Double, "");
                self.assembler.branch(JumpCondition::Equal, R3, none, end);
                self.go_on(next.offset, next.name);
            }
            self.read(report::CGROUP.at, 8);
        }
        self.assembler.bind(end);
    }

    /// Copies the inode of the socket's namespace alone; 0 where there is none.
    pub(super) fn socket_namespace(&mut self) {
        let none = EbpfOperand::Number(0);
        self.tell(report::SOCKET_NAMESPACE, none);
        let Some(layout) = self.layout.socket else {
            self.tell(report::SOCKET_ROLE, none);
            return;
        };
        let end = self.assembler.label();
        self.find_socket(layout.socket, end);
        self.go_on(layout.namespace.offset, layout.namespace.name);
        self.read(MEMBERS, 8);
        self.member(R3, 0, AccessSize::Double, "");
        let inode = self.layout.namespace_inode;
        self.go_on(inode.offset, inode.name);
        self.read(report::SOCKET_NAMESPACE.at, 4);
        self.assembler.bind(end);
    }

    /// Makes r3 the address of the socket and tells its role, or jumps to `end`.
    fn find_socket(&mut self, owner: KernelField, end: JumpLabel) {
        let found = self.assembler.label();
        let none = EbpfOperand::Number(0);
        if self.layout.has_receiver {
            self.assembler.load(AccessSize::Double, R1, CONTEXT, 24);
            self.assembler.note("rx_sk");
            self.socket_is(SocketRole::Receiver, R1);
            self.assembler
                .branch(JumpCondition::NotEqual, R3, none, found);
        }
        self.field(R1, SKB, owner);
        self.socket_is(SocketRole::Owner, R1);
        self.assembler
            .branch(JumpCondition::NotEqual, R3, none, found);
        self.tell(report::SOCKET_ROLE, none);
        let asm = &mut self.assembler;
        asm.branch(JumpCondition::Equal, R3, none, end);
        asm.bind(found);
    }

    /// Turns a pointer into a number, which memory makes of it: r3.
    fn socket_is(&mut self, role: SocketRole, pointer: Register) {
        let asm = &mut self.assembler;
        asm.store(
            AccessSize::Double,
            RECORD,
            MEMBERS,
            EbpfOperand::Register(pointer),
        );
        asm.load(AccessSize::Double, R3, RECORD, MEMBERS);
        self.tell(report::SOCKET_ROLE, EbpfOperand::Number(role as i32));
    }

    /// Loads a member that was copied.
    fn member(&mut self, to: Register, offset: i16, size: AccessSize, name: &'static str) {
        self.assembler.load(size, to, RECORD, MEMBERS + offset);
        self.assembler.note(name);
    }

    /// Makes r3 the address of a member of the socket.
    fn follow_socket(&mut self, offset: i16, name: &'static str) {
        self.assembler.load(AccessSize::Double, R3, STACK, SOCKET);
        self.go_on(offset, name);
    }

    /// Makes r3, the address of a structure, that of a member.
    fn go_on(&mut self, offset: i16, name: &'static str) {
        let offset = EbpfOperand::Number(offset.into());
        self.assembler.calculate(AluOp::Add, R3, offset);
        self.assembler.note(name);
    }
}
