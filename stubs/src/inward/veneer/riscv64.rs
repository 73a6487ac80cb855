//! The veneer of entries for riscv64.
//!
//! ```text
//!   from x8, in the veneer        from x2 (sp)
//!     +16 + base  argument base     +0  image: registers of arguments, then of results
//!     +8          caller's x1
//!     +0          caller's x8
//! ```
//! The slot's address comes in x28, and x31 holds the addresses that are branched to: C and Go
//! leave both free. x8, C's frame pointer, carries an argument and a result of Go's; as an argument
//! it is taken from where it was saved, as a result it is loaded last. What C keeps is kept, but
//! for x8 as a result.
#![forbid(unsafe_code)]

use super::{BODY_ALIGNMENT, Machine, Plan, STATE_OFFSET, VENEER_OFFSET, number};
use crate::Family;
use crate::veneer::Encoded;

pub(super) static MACHINE: Machine = Machine {
    // Zicfilp's landing pads are not yet what compilers make.
    landing_pad: &[],
    entry,
    veneer,
    is_direct: false,
    jump: None,
    frame_pointer: 8,
    return_address: 1,
    cfa: 16,
    saved: &[(1, -8), (8, -16)],
};

const LINK: u32 = 1;
const SP: u32 = 2;
const FRAME: u32 = 8;
const SLOT: u32 = 28;
const SCRATCH: u32 = 31;

/// `auipc x28, 0; ld x28, 16(x28); ld x31, 0(x28); jr x31`
fn entry(_family: Family) -> Vec<u8> {
    let mut code = Encoded::default();
    auipc(&mut code, SLOT);
    load(&mut code, SLOT, SLOT, 16);
    load(&mut code, SCRATCH, SLOT, VENEER_OFFSET);
    jalr(&mut code, 0, SCRATCH);
    code.bytes
}

fn veneer(plan: &Plan) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    add(&mut code, SP, SP, -16);
    store(&mut code, LINK, SP, 8);
    store(&mut code, FRAME, SP, 0);
    add(&mut code, FRAME, SP, 0);
    add(&mut code, SP, SP, -plan.bytes());
    // ANDI: callers of Go leave a multiple of 8.
    code.word("andi x2, x2, -16".into(), i_type(0x13, 7, SP, SP, -16));
    for (name, offset) in plan.stores() {
        let register = match number(name)? {
            FRAME => {
                load(&mut code, SCRATCH, FRAME, 0);
                SCRATCH
            }
            other => other,
        };
        store(&mut code, register, SP, offset);
    }
    for (name, offset) in plan.float_stores() {
        let register = number(name)?;
        let text = format!("fsd f{register}, {offset}(x{SP})");
        code.word(text, s_type(0x27, register, SP, offset));
    }
    add(&mut code, 10, SP, 0);
    if plan.has_slot() {
        add(&mut code, 11, SLOT, 0);
        load(&mut code, 12, 11, STATE_OFFSET);
        // Acquire: the handler is read after the state.
        code.word("fence r, rw".into(), 0x0230_000f);
    }
    add(&mut code, 13, FRAME, 16 + plan.argument_base());
    let from = code.bytes.len();
    auipc(&mut code, SCRATCH);
    if plan.has_slot() {
        load(&mut code, SCRATCH, SCRATCH, 0);
    }
    jalr(&mut code, LINK, SCRATCH);
    let mut frame_result = None;
    for (name, offset) in plan.loads() {
        match number(name)? {
            FRAME => frame_result = Some(offset),
            register => load(&mut code, register, SP, offset),
        }
    }
    for (name, offset) in plan.float_loads() {
        let register = number(name)?;
        let text = format!("fld f{register}, {offset}(x{SP})");
        code.word(text, i_type(0x07, 3, register, SP, offset));
    }
    if let Some(offset) = frame_result {
        load(&mut code, SCRATCH, SP, offset);
    }
    add(&mut code, SP, FRAME, 0);
    load(&mut code, LINK, SP, 8);
    match frame_result {
        Some(_) => add(&mut code, FRAME, SCRATCH, 0),
        None => load(&mut code, FRAME, SP, 0),
    }
    add(&mut code, SP, SP, 16);
    jalr(&mut code, 0, LINK);
    let distance = |alignment| (code.bytes.len().next_multiple_of(alignment) - from) as i32;
    let patched = match plan.has_slot() {
        true => i_type(0x03, 3, SCRATCH, SCRATCH, distance(8)),
        false => i_type(0x67, 0, LINK, SCRATCH, distance(BODY_ALIGNMENT)),
    };
    code.bytes[from + 4..from + 8].copy_from_slice(&patched.to_le_bytes());
    Ok(code)
}

/// I-type: a 12-bit signed immediate on top.
fn i_type(opcode: u32, funct: u32, to: u32, from: u32, immediate: i32) -> u32 {
    (immediate as u32) << 20 | from << 15 | funct << 12 | to << 7 | opcode
}

/// S-type: the immediate in two parts.
fn s_type(opcode: u32, from: u32, base: u32, offset: i32) -> u32 {
    let offset = offset as u32;
    (offset >> 5 & 0x7f) << 25 | from << 20 | base << 15 | 3 << 12 | (offset & 0x1f) << 7 | opcode
}

fn auipc(code: &mut Encoded, to: u32) {
    code.word(format!("auipc x{to}, 0"), to << 7 | 0x17);
}

/// ADDI, which also moves.
fn add(code: &mut Encoded, to: u32, from: u32, immediate: i32) {
    let text = format!("addi x{to}, x{from}, {immediate}");
    code.word(text, i_type(0x13, 0, to, from, immediate));
}

fn load(code: &mut Encoded, to: u32, base: u32, offset: i32) {
    let text = format!("ld x{to}, {offset}(x{base})");
    code.word(text, i_type(0x03, 3, to, base, offset));
}

fn store(code: &mut Encoded, from: u32, base: u32, offset: i32) {
    let text = format!("sd x{from}, {offset}(x{base})");
    code.word(text, s_type(0x23, from, base, offset));
}

fn jalr(code: &mut Encoded, link: u32, target: u32) {
    code.word(
        format!("jalr x{link}, x{target}"),
        i_type(0x67, 0, link, target, 0),
    );
}
