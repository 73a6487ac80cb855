//! The veneer of entries for amd64, and the reference for the others.
//!
//! ```text
//!   from rbp, in the veneer       from rsp
//!     +16 + base  argument base     +0      image: registers of arguments, then of results
//!     +8          return address    +image  Windows only: rdi rsi xmm6..xmm15 of the caller
//!     +0          caller's rbp
//! ```
//! The slot's address comes in r10, which C leaves free, or from callers of Go in r12. Go leaves a
//! stack pointer that need not be a multiple of 16.
//!
//! At the return: rsp and every register that C keeps are the caller's, Go's g among them. Windows
//! has its callee keep more. To callers of Go xmm15 is 0.
#![forbid(unsafe_code)]

use super::{
    BODY_ALIGNMENT, Direct, HANDLER_OFFSET, Machine, Plan, STATE_OFFSET, VENEER_OFFSET, Way,
};
use crate::Family;
use crate::veneer::Encoded;

pub(super) static MACHINE: Machine = Machine {
    landing_pad: &[0xf3, 0x0f, 0x1e, 0xfa],
    entry,
    veneer,
    is_direct: true,
    jump: Some(jump),
    frame_pointer: 6,
    return_address: 16,
    cfa: 16,
    saved: &[(6, -16), (16, -8)],
};

/// A register's hardware number is its place here.
const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const RCX: u8 = 1;
const RDX: u8 = 2;
const RSI: u8 = 6;
const RDI: u8 = 7;
const R10: u8 = 10;
const R12: u8 = 12;
/// What Windows' callee keeps and C's on Unix does not: these and rdi, rsi.
const WINDOWS_FLOATS: std::ops::Range<u8> = 6..16;

fn slot_register(family: Family) -> u8 {
    match family {
        Family::Go => R12,
        Family::Native(_) => R10,
    }
}

/// `endbr64; mov slot, [rip + ..]; jmp [slot]`
fn entry(family: Family) -> Vec<u8> {
    const _: () = assert!(VENEER_OFFSET == 0);
    let slot = slot_register(family);
    let mut code = MACHINE.landing_pad.to_vec();
    let jump: &[u8] = match slot {
        // r12 as a base needs a SIB byte.
        R12 => &[0x41, 0xff, 0x24, 0x24],
        _ => &[0x41, 0xff, 0x22],
    };
    let load_end = code.len() + 7;
    let word = (load_end + jump.len()).next_multiple_of(8);
    code.extend([0x4c, 0x8b, 0x05 | (slot & 7) << 3]);
    code.extend(((word - load_end) as i32).to_le_bytes());
    code.extend(jump);
    code
}

fn veneer(plan: &Plan) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    code.push("endbr64".into(), MACHINE.landing_pad);
    code.push("push rbp".into(), &[0x55]);
    code.push("mov rbp, rsp".into(), &[0x48, 0x89, 0xe5]);
    let kept = plan.bytes();
    let frame = kept + if plan.is_fastcall() { 16 + 160 } else { 0 };
    let mut bytes = vec![0x48, 0x81, 0xec];
    bytes.extend(frame.to_le_bytes());
    code.push(format!("sub rsp, {frame}"), &bytes);
    code.push("and rsp, -16".into(), &[0x48, 0x83, 0xe4, 0xf0]);
    for (name, offset) in plan.stores() {
        int(&mut code, 0x89, register(name)?, offset);
    }
    for (name, offset) in plan.float_stores() {
        float(&mut code, 0x11, vector(name)?, offset);
    }
    if plan.is_fastcall() {
        windows(&mut code, true, kept);
    }
    let slot = slot_register(plan.abi.family());
    let body = match &plan.way {
        Way::Handler(direct) => {
            call_handler(&mut code, slot, direct);
            None
        }
        Way::Body => {
            pass_slot(&mut code, slot);
            pass_image(&mut code, plan.argument_base());
            code.push("call [rip + body]".into(), &[0xff, 0x15, 0, 0, 0, 0]);
            Some((code.bytes.len(), 8))
        }
        Way::Following => {
            pass_image(&mut code, plan.argument_base());
            code.push("call body".into(), &[0xe8, 0, 0, 0, 0]);
            Some((code.bytes.len(), BODY_ALIGNMENT))
        }
    };
    for (name, offset) in plan.loads() {
        int(&mut code, 0x8b, register(name)?, offset);
    }
    for (name, offset) in plan.float_loads() {
        float(&mut code, 0x10, vector(name)?, offset);
    }
    if plan.is_fastcall() {
        windows(&mut code, false, kept);
    }
    if plan.is_go() {
        code.push("xorps xmm15, xmm15".into(), &[0x45, 0x0f, 0x57, 0xff]);
    }
    code.push("leave".into(), &[0xc9]);
    code.push("ret".into(), &[0xc3]);
    if let Some((after, alignment)) = body {
        let target = code.bytes.len().next_multiple_of(alignment);
        let distance = ((target - after) as i32).to_le_bytes();
        code.bytes[after - 4..after].copy_from_slice(&distance);
    }
    Ok(code)
}

/// `endbr64; mov slot register, r10; mov number register, number; jmp [rip + function]`
fn jump([slot, number]: [&str; 2], value: u64) -> Result<Encoded, String> {
    let mut code = Encoded::default();
    code.push("endbr64".into(), MACHINE.landing_pad);
    let to = register(slot)?;
    let bytes = [0x4c | to >> 3, 0x89, 0xc0 | (R10 & 7) << 3 | to & 7];
    code.push(format!("mov {slot}, r10"), &bytes);
    let to = register(number)?;
    let mut bytes = vec![0x48 | to >> 3, 0xb8 | to & 7];
    bytes.extend(value.to_le_bytes());
    code.push(format!("mov {number}, {value}"), &bytes);
    let end = code.bytes.len() + 6;
    let mut bytes = vec![0xff, 0x25];
    bytes.extend(((end.next_multiple_of(8) - end) as i32).to_le_bytes());
    code.push("jmp [rip + function]".into(), &bytes);
    Ok(code)
}

/// The body's arguments 1 and 2.
fn pass_slot(code: &mut Encoded, slot: u8) {
    let text = format!("mov rsi, {}", NAMES[usize::from(slot)]);
    code.push(text, &[0x4c, 0x89, 0xc0 | (slot & 7) << 3 | RSI]);
    let text = format!("mov rdx, [rsi + {STATE_OFFSET}]");
    code.push(text, &[0x48, 0x8b, 0x56, STATE_OFFSET as u8]);
}

/// The body's arguments 0 and 3.
fn pass_image(code: &mut Encoded, base: i32) {
    code.push("mov rdi, rsp".into(), &[0x48, 0x89, 0xe7]);
    let base = 16 + base;
    let mut bytes = vec![0x48, 0x8d, 0x8d];
    bytes.extend(base.to_le_bytes());
    code.push(format!("lea rcx, [rbp + {base}]"), &bytes);
}

/// Calls the handler with the blocks in the image, that of results zeroed.
fn call_handler(code: &mut Encoded, slot: u8, direct: &Direct) {
    let text = format!("mov rdi, {}", NAMES[usize::from(slot)]);
    code.push(text, &[0x4c, 0x89, 0xc0 | (slot & 7) << 3 | RDI]);
    let text = format!("mov rsi, [rdi + {STATE_OFFSET}]");
    code.push(text, &[0x48, 0x8b, 0x77, STATE_OFFSET as u8]);
    for n in 0..direct.words as i32 {
        let offset = direct.results + 8 * n;
        let mut bytes = vec![0x48, 0xc7, 0x84];
        from_stack(&mut bytes, offset);
        bytes.extend([0; 4]);
        code.push(format!("mov qword ptr [rsp + {offset}], 0"), &bytes);
    }
    int(code, 0x8d, RDX, direct.arguments);
    int(code, 0x8d, RCX, direct.results);
    let mut bytes = vec![0x49, 0xb8];
    bytes.extend(direct.code.to_le_bytes());
    code.push(format!("mov r8, {}", direct.code), &bytes);
    let text = format!("call [rdi + {HANDLER_OFFSET}]");
    code.push(text, &[0xff, 0x57, HANDLER_OFFSET as u8]);
}

fn register(name: &str) -> Result<u8, String> {
    let found = NAMES.iter().position(|own| *own == name);
    found
        .map(|n| n as u8)
        .ok_or_else(|| format!("register {name:?}, wanted one of {}", NAMES.join(", ")))
}

fn vector(name: &str) -> Result<u8, String> {
    let number = name.strip_prefix("xmm").and_then(|n| n.parse().ok());
    number
        .filter(|&n: &u8| n < 16)
        .ok_or_else(|| format!("register {name:?}, wanted xmm0 to xmm15"))
}

/// What follows a ModRM byte whose address is rsp with a 32-bit displacement.
fn from_stack(bytes: &mut Vec<u8>, offset: i32) {
    bytes.push(0x24);
    bytes.extend(offset.to_le_bytes());
}

/// REX.W 89 /r stores, 8b /r loads, 8d /r takes the address.
fn int(code: &mut Encoded, opcode: u8, register: u8, offset: i32) {
    let mut bytes = vec![
        0x48 | register >> 3 << 2,
        opcode,
        0x84 | (register & 7) << 3,
    ];
    from_stack(&mut bytes, offset);
    let (name, place) = (NAMES[usize::from(register)], format!("[rsp + {offset}]"));
    let text = match opcode {
        0x89 => format!("mov {place}, {name}"),
        0x8d => format!("lea {name}, {place}"),
        _ => format!("mov {name}, {place}"),
    };
    code.push(text, &bytes);
}

/// REX 0F 11 /r stores, 10 loads.
fn float(code: &mut Encoded, opcode: u8, register: u8, offset: i32) {
    let rex = 0x40 | register >> 3 << 2;
    let mut bytes = vec![rex, 0x0f, opcode, 0x84 | (register & 7) << 3];
    from_stack(&mut bytes, offset);
    let place = format!("[rsp + {offset}]");
    let text = match opcode {
        0x11 => format!("movups {place}, xmm{register}"),
        _ => format!("movups xmm{register}, {place}"),
    };
    code.push(text, &bytes);
}

/// Stores or loads what only Windows' callee keeps, from `at` on.
fn windows(code: &mut Encoded, store: bool, at: i32) {
    let opcode = if store { 0x89 } else { 0x8b };
    int(code, opcode, RDI, at);
    int(code, opcode, RSI, at + 8);
    for (n, register) in (0..).zip(WINDOWS_FLOATS) {
        float(
            code,
            if store { 0x11 } else { 0x10 },
            register,
            at + 16 + 16 * n,
        );
    }
}
