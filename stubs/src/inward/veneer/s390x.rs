//! The veneer of entries for s390x.
//!
//! ```text
//!   from r11 = r15 at the entry     from r15
//!     + base  argument base           +0           register save area for the body
//!     -8      caller's r15            +160         image: registers of arguments, then of results
//!     -16     caller's r14            +160 + image caller's r11, r14, r15
//!     -24     caller's r11
//! ```
//! C's callers have a register save area of 160 bytes at their stack pointer; Go's have their
//! arguments there. So the veneer uses nothing above r15. The slot's address comes in r0, since r1
//! is the only other register that both leave free, and that has the address to branch to. To
//! callers of Go r0 is 0 at the return. What C keeps is kept, but for r6 to r9 as results of Go's.
#![forbid(unsafe_code)]

use super::{BODY_ALIGNMENT, Machine, Plan, STATE_OFFSET, VENEER_OFFSET, number};
use crate::Family;
use crate::veneer::Encoded;

pub(super) static MACHINE: Machine = Machine {
    landing_pad: &[],
    entry,
    veneer,
    is_direct: false,
    jump: None,
    frame_pointer: 11,
    return_address: 14,
    cfa: 160,
    saved: &[(11, -184), (14, -176), (15, -168)],
};

const SAVE_AREA: i32 = 160;
const TARGET: u32 = 1;
const FRAME: u32 = 11;
const LINK: u32 = 14;
const SP: u32 = 15;

/// `lgrl r1, slot; lgr r0, r1; lg r1, 0(r1); br r1`
fn entry(_family: Family) -> Vec<u8> {
    let mut code = Encoded::default();
    literal(&mut code, 24);
    move_register(&mut code, 0, TARGET);
    load(&mut code, TARGET, TARGET, VENEER_OFFSET);
    branch(&mut code, TARGET);
    code.bytes
}

fn veneer(plan: &Plan) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    let saved = SAVE_AREA + plan.bytes();
    let frame = saved + 24;
    move_register(&mut code, TARGET, SP);
    immediate(&mut code, "aghi", 0xb, SP, -frame as i16);
    for (register, offset) in [(FRAME, saved), (LINK, saved + 8), (TARGET, saved + 16)] {
        store(&mut code, register, SP, offset);
    }
    move_register(&mut code, FRAME, TARGET);
    for (name, offset) in plan.stores() {
        store(&mut code, number(name)?, SP, SAVE_AREA + offset);
    }
    for (name, offset) in plan.float_stores() {
        float(&mut code, "stdy", 0x67, number(name)?, SAVE_AREA + offset);
    }
    address(&mut code, 2, SP, SAVE_AREA);
    if plan.has_slot() {
        move_register(&mut code, 3, 0);
        load(&mut code, 4, 3, STATE_OFFSET);
    }
    address(&mut code, 5, FRAME, plan.argument_base());
    let from = code.bytes.len();
    let alignment = if plan.has_slot() {
        literal(&mut code, 0);
        code.push("basr %r14, %r1".into(), &[0x0d, (LINK << 4 | TARGET) as u8]);
        8
    } else {
        let bytes = [0xc0, (LINK << 4) as u8 | 5, 0, 0, 0, 0];
        code.push("brasl %r14, body".into(), &bytes);
        BODY_ALIGNMENT
    };
    for (name, offset) in plan.loads() {
        load(&mut code, number(name)?, SP, SAVE_AREA + offset);
    }
    for (name, offset) in plan.float_loads() {
        float(&mut code, "ldy", 0x65, number(name)?, SAVE_AREA + offset);
    }
    if plan.is_go() {
        immediate(&mut code, "lghi", 0x9, 0, 0);
    }
    for (register, offset) in [(FRAME, saved), (LINK, saved + 8), (SP, saved + 16)] {
        load(&mut code, register, SP, offset);
    }
    branch(&mut code, LINK);
    // Both count halfwords, from their first byte.
    let distance = code.bytes.len().next_multiple_of(alignment) - from;
    let halves = (distance as u32 / 2).to_be_bytes();
    code.bytes[from + 2..from + 6].copy_from_slice(&halves);
    Ok(code)
}

/// LGRL of r1: the distance counts halfwords, from the instruction.
fn literal(code: &mut Encoded, distance: u32) {
    let [a, b, c, d] = (distance / 2).to_be_bytes();
    code.push("lgrl %r1, literal".into(), &[0xc4, 0x18, a, b, c, d]);
}

/// RXY: register, base, 20-bit displacement with its low 12 bits first.
fn rxy(opcodes: [u8; 2], register: u32, base: u32, offset: i32) -> [u8; 6] {
    let (register, base) = (register as u8, base as u8);
    let [_, high, middle, low] = offset.to_be_bytes();
    let upper = high << 4 | middle >> 4;
    let first = base << 4 | middle & 0xf;
    [opcodes[0], register << 4, first, low, upper, opcodes[1]]
}

fn load(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let text = format!("lg %r{to}, {offset}(%r{base})");
    code.push(text, &rxy([0xe3, 0x04], to, base, offset));
}

fn store(code: &mut Encoded, from: u32, base: u32, offset: i32) {
    let text = format!("stg %r{from}, {offset}(%r{base})");
    code.push(text, &rxy([0xe3, 0x24], from, base, offset));
}

/// LAY.
fn address(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let text = format!("lay %r{to}, {offset}(%r{base})");
    code.push(text, &rxy([0xe3, 0x71], to, base, offset));
}

/// LDY or STDY, from r15.
fn float(code: &mut Encoded, name: &str, opcode: u8, register: u32, offset: i32) {
    let text = format!("{name} %f{register}, {offset}(%r{SP})");
    code.push(text, &rxy([0xed, opcode], register, SP, offset));
}

/// LGR.
fn move_register(code: &mut Encoded, to: u32, from: u32) {
    let text = format!("lgr %r{to}, %r{from}");
    code.push(text, &[0xb9, 0x04, 0x00, (to << 4 | from) as u8]);
}

/// BR.
fn branch(code: &mut Encoded, to: u32) {
    code.push(format!("br %r{to}"), &[0x07, (0xf0 | to) as u8]);
}

/// RI: a register and a 16-bit signed number.
fn immediate(code: &mut Encoded, name: &str, opcode: u8, register: u32, value: i16) {
    let [high, low] = value.to_be_bytes();
    let text = format!("{name} %r{register}, {value}");
    code.push(text, &[0xa7, (register << 4) as u8 | opcode, high, low]);
}
