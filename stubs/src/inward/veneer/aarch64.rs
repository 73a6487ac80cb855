//! The veneer of entries for arm64.
//!
//! ```text
//!   from x29, in the veneer       from sp
//!     +16 + base  argument base     +0  image: registers of arguments, then of results
//!     +8          caller's x30
//!     +0          caller's x29
//! ```
//! The slot's address comes in x17; x16 holds the addresses that are branched to. Both are
//! everybody's scratch at a function's entry, C's and Go's. What C keeps, Go's g among it, is kept.
#![forbid(unsafe_code)]

use super::{BODY_ALIGNMENT, Machine, Plan, STATE_OFFSET, VENEER_OFFSET, number};
use crate::Family;
use crate::veneer::Encoded;

pub(super) static MACHINE: Machine = Machine {
    landing_pad: &[0x5f, 0x24, 0x03, 0xd5],
    entry,
    veneer,
    is_direct: false,
    jump: None,
    frame_pointer: 29,
    return_address: 30,
    cfa: 16,
    saved: &[(29, -16), (30, -8)],
};

const TARGET: u32 = 16;
const SLOT: u32 = 17;
const FRAME: u32 = 29;
const SP: u32 = 31;
/// BL to itself.
const BL: u32 = 0x9400_0000;

/// `bti c; ldr x17, slot; ldr x16, [x17]; br x16`
fn entry(_family: Family) -> Vec<u8> {
    let mut code = Encoded::default();
    code.push("bti c".into(), MACHINE.landing_pad);
    literal(&mut code, SLOT, 12);
    load(&mut code, TARGET, SLOT, VENEER_OFFSET);
    code.word("br x16".into(), 0xd61f_0000 | TARGET << 5);
    code.bytes
}

fn veneer(plan: &Plan) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    code.push("bti c".into(), MACHINE.landing_pad);
    code.word("stp x29, x30, [sp, #-16]!".into(), 0xa9bf_7bfd);
    add(&mut code, FRAME, SP, 0);
    let frame = plan.bytes() as u32;
    let text = format!("sub sp, sp, #{frame}");
    code.word(text, 0xd100_0000 | frame << 10 | SP << 5 | SP);
    for (name, offset) in plan.stores() {
        let register = number(name)?;
        let text = format!("str x{register}, [sp, #{offset}]");
        code.word(text, 0xf900_0000 | address(SP, offset) | register);
    }
    for (name, offset) in plan.float_stores() {
        float(&mut code, "str", 0x3d80_0000, number(name)?, offset);
    }
    add(&mut code, 0, SP, 0);
    if plan.has_slot() {
        code.word("mov x1, x17".into(), 0xaa00_03e0 | SLOT << 16 | 1);
        // Acquire: the handler is read after the state.
        add(&mut code, 2, 1, STATE_OFFSET as u32);
        code.word("ldar x2, [x2]".into(), 0xc8df_fc00 | 2 << 5 | 2);
    }
    add(&mut code, 3, FRAME, 16 + plan.argument_base() as u32);
    let from = code.bytes.len();
    if plan.has_slot() {
        literal(&mut code, TARGET, 0);
        code.word("blr x16".into(), 0xd63f_0000 | TARGET << 5);
    } else {
        code.word("bl body".into(), BL);
    }
    for (name, offset) in plan.loads() {
        load(&mut code, number(name)?, SP, offset);
    }
    for (name, offset) in plan.float_loads() {
        float(&mut code, "ldr", 0x3dc0_0000, number(name)?, offset);
    }
    add(&mut code, SP, FRAME, 0);
    code.word("ldp x29, x30, [sp], #16".into(), 0xa8c1_7bfd);
    code.word("ret".into(), 0xd65f_03c0);
    let distance = |alignment| (code.bytes.len().next_multiple_of(alignment) - from) as u32;
    let patched = match plan.has_slot() {
        true => load_literal(TARGET, distance(8)),
        // The distance counts words.
        false => BL | (distance(BODY_ALIGNMENT) / 4),
    };
    code.bytes[from..from + 4].copy_from_slice(&patched.to_le_bytes());
    Ok(code)
}

/// LDR (literal): the distance counts words, from the instruction.
fn load_literal(to: u32, distance: u32) -> u32 {
    0x5800_0000 | (distance / 4) << 5 | to
}

fn literal(code: &mut Encoded, to: u32, distance: u32) {
    code.word(format!("ldr x{to}, literal"), load_literal(to, distance));
}

/// An address as [base, #offset]: the offset counts words and has 12 bits, far above any image.
fn address(base: u32, offset: i32) -> u32 {
    (offset as u32 / 8) << 10 | base << 5
}

fn load(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let text = format!("ldr x{to}, [{}, #{offset}]", name(base));
    code.word(text, 0xf940_0000 | address(base, offset) | to);
}

/// LDR or STR of a q register, from sp: the offset counts 16 bytes.
fn float(code: &mut Encoded, name: &str, opcode: u32, register: u32, offset: i32) {
    let text = format!("{name} q{register}, [sp, #{offset}]");
    let place = (offset as u32 / 16) << 10 | SP << 5;
    code.word(text, opcode | place | register);
}

/// ADD (immediate), which also moves to and from sp.
fn add(code: &mut Encoded, to: u32, from: u32, immediate: u32) {
    let text = format!("add {}, {}, #{immediate}", name(to), name(from));
    code.word(text, 0x9100_0000 | immediate << 10 | from << 5 | to);
}

fn name(register: u32) -> String {
    match register {
        SP => "sp".to_owned(),
        _ => format!("x{register}"),
    }
}
