//! Tests of the assembler and of the encoding.

use super::*;

/// Returns a program that branches over `skipped` operations.
fn over(skipped: usize) -> BpfProgram {
    let mut assembler = Assembler::default();
    let (far, near) = (assembler.label(), assembler.label());
    assembler.branch(Condition::Equal, Operand::Number(1), far, near);
    assembler.bind(near);
    for _ in 0..skipped {
        assembler.op(Op::Length);
    }
    assembler.bind(far);
    assembler.jump(Label::REJECT);
    assembler.assemble()
}

#[test]
fn a_far_branch_jumps_to_a_jump() {
    let near = over(254);
    assert_eq!(near.len(), 1 + 254 + 2);
    let Encoded {
        jump_true,
        jump_false,
        ..
    } = near.encode()[0];
    assert_eq!((jump_true, jump_false), (254, 0));
    let far = over(255);
    assert_eq!(far.len(), 2 + 255 + 2);
    let lines: Vec<String> = far.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "(000) jeq      #0x1             jt 1 jf 2");
    assert_eq!(lines[1], "(001) ja       257");
    assert_eq!(lines[257], "(257) ret      #0");
}

#[test]
fn the_numbers_are_those_of_the_kernels_headers() {
    #[track_caller]
    fn check(op: Op, code: i32, operand: i32) {
        let (found, number) = op.encode();
        assert_eq!(u32::from(found), code.unsigned_abs(), "{op}");
        assert_eq!(number, operand.cast_unsigned(), "{op}");
    }
    use Operand::{Number, X};
    #[allow(clippy::cast_possible_wrap)]
    fn of(parts: &[u32]) -> i32 {
        parts.iter().sum::<u32>() as i32
    }
    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_LD, BPF_LDX, BPF_LEN,
        BPF_LSH, BPF_MEM, BPF_MISC, BPF_ST, BPF_TAX, BPF_TXA, BPF_W, BPF_X,
    };
    check(Op::Number(5), of(&[BPF_LD, BPF_IMM]), 5);
    check(Op::Length, of(&[BPF_LD, BPF_W, BPF_LEN]), 0);
    check(Op::Load(Size::Half, 4), of(&[BPF_LD, BPF_H, BPF_ABS]), 4);
    check(
        Op::LoadBehindX(Size::Byte, 4),
        of(&[BPF_LD, BPF_B, BPF_IND]),
        4,
    );
    check(Op::Recall(Slot(3)), of(&[BPF_LD, BPF_MEM]), 3);
    check(Op::NumberToX(5), of(&[BPF_LDX, BPF_IMM]), 5);
    check(Op::RecallToX(Slot(3)), of(&[BPF_LDX, BPF_MEM]), 3);
    check(Op::Store(Slot(3)), of(&[BPF_ST]), 3);
    check(Op::ToX, of(&[BPF_MISC, BPF_TAX]), 0);
    check(Op::FromX, of(&[BPF_MISC, BPF_TXA]), 0);
    let (attribute, nested) = (libc::SKF_AD_NLATTR, libc::SKF_AD_NLATTR_NEST);
    let load = of(&[BPF_LD, BPF_W, BPF_ABS]);
    check(Op::FindAttribute, load, libc::SKF_AD_OFF + attribute);
    check(Op::FindNested, load, libc::SKF_AD_OFF + nested);
    let and = of(&[BPF_ALU, BPF_AND]);
    check(Op::Calculate(Arithmetic::And, Number(7)), and, 7);
    let shift = of(&[BPF_ALU, BPF_LSH, BPF_X]);
    check(Op::Calculate(Arithmetic::ShiftLeft, X), shift, 0);
}
