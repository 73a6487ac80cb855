//! Channels and `select`, which the package `channel` of the prelude does with values of type
//! `any`: what generated code leaves in the buffer is made such a value, and back.
#![forbid(unsafe_code)]

use super::Ctx;
use super::object::copy_bytes;
use super::value;
use crate::types::{Kind, Ty};

impl Ctx {
    fn element(&self, chan: Ty) -> Ty {
        match *self.types().kind(chan) {
            Kind::Chan(_, elem) => elem,
            _ => unreachable!("generated code passes the type of a channel"),
        }
    }

    /// The value in the buffer as the two words of one of type `any`.
    fn take_from_buffer(&mut self, elem: Ty) -> [usize; 2] {
        let at = self.buffer();
        value::leave(self, Some((elem, at)));
        let [info, word] = [self.results[0] as usize, self.results[1] as usize];
        if word != at {
            return [info, word];
        }
        let copy = self.array(elem, 1);
        copy_bytes(copy, at, self.types().size(elem) as usize);
        [info, copy]
    }

    /// Leaves a value of type `any` in the buffer as one of this type; nil as zero.
    fn leave_in_buffer(&mut self, elem: Ty, [info, word]: [u64; 2]) {
        let types = self.types();
        if types.is_interface(elem) {
            self.buffer[..2].copy_from_slice(&[info, word]);
        } else if types.is_pointer_shaped(elem) {
            self.buffer[0] = word;
        } else if info == 0 {
            self.buffer.fill(0);
        } else {
            copy_bytes(self.buffer(), word as usize, types.size(elem) as usize);
        }
    }
}

pub(super) fn send(ctx: &mut Ctx, ty: Ty, chan: usize) {
    let [info, word] = ctx.take_from_buffer(ctx.element(ty));
    ctx.call_library("channel.send", [chan, info, word, 0]);
}

/// Whether a value was received, which is left in the buffer; or else zero.
pub(super) fn receive(ctx: &mut Ctx, ty: Ty, chan: usize) -> bool {
    ctx.call_library("channel.receive", [chan, 0, 0, 0]);
    ctx.leave_in_buffer(ctx.element(ty), [ctx.results[0], ctx.results[1]]);
    ctx.results[2].to_ne_bytes()[0] != 0
}

/// Begins a `select`, whose operands may be calls with a `select` of their own.
pub(super) fn select_begin(ctx: &mut Ctx) {
    ctx.selection = 0;
    ctx.selected.clear();
}

pub(super) fn select_send(ctx: &mut Ctx, ty: Ty, chan: usize) {
    let elem = ctx.element(ty);
    ctx.selected.push(elem);
    let [info, word] = ctx.take_from_buffer(elem);
    ctx.call_library("channel.sending", [ctx.selection, chan, info, word]);
    ctx.selection = ctx.results[0] as usize;
}

pub(super) fn select_receive(ctx: &mut Ctx, ty: Ty, chan: usize) {
    ctx.selected.push(ctx.element(ty));
    ctx.call_library("channel.receiving", [ctx.selection, chan, 0, 0]);
    ctx.selection = ctx.results[0] as usize;
}

/// Runs the `select` that was prepared: returns the number of the case, or -1 for `default`.
pub(super) fn select_run(ctx: &mut Ctx, default: bool) -> i64 {
    let cases = std::mem::take(&mut ctx.selected);
    let selection = std::mem::take(&mut ctx.selection);
    ctx.call_library("channel.run", [selection, (!default).into(), 0, 0]);
    let number = ctx.results[0] as i64;
    match cases.get(number as usize) {
        Some(elem) if ctx.panicking == 0 => {
            ctx.leave_in_buffer(*elem, [ctx.results[1], ctx.results[2]]);
        }
        _ => {}
    }
    ctx.results[0] = ctx.results[3];
    number
}
