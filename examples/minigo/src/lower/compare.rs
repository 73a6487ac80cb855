//! Equality of values of any type.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::I8;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::body::{Body, Made};
use crate::types::{Kind, Ty};

impl Body<'_, '_, '_> {
    /// 1 if the values are equal.
    pub(super) fn equal(&mut self, a: &[Value], b: &[Value], ty: Ty) -> Made<Value> {
        let types = &self.lo.p.types;
        if types.is_string(ty) {
            let order = self.host("compare", &[a[0], a[1], b[0], b[1]]);
            return Ok(self.b.ins().icmp_imm_s(IntCC::Equal, order, 0));
        }
        if types.is_float(ty) {
            return Ok(self.b.ins().fcmp(FloatCC::Equal, a[0], b[0]));
        }
        let parts: Vec<Ty> = match types.kind(ty) {
            Kind::Interface(_) => {
                let equal = self.host_checked("interfaces_equal", &[a[0], a[1], b[0], b[1]]);
                return Ok(self.b.ins().ireduce(I8, equal));
            }
            Kind::Struct(fields) => fields.iter().map(|field| field.ty).collect(),
            Kind::Array(n, of) => vec![*of; *n as usize],
            _ => return Ok(self.b.ins().icmp(IntCC::Equal, a[0], b[0])),
        };
        let mut result = self.b.ins().iconst(I8, 1);
        let mut at = 0;
        for part in parts {
            let count = self.lo.p.types.word_count(part) as usize;
            let equal = self.equal(&a[at..at + count], &b[at..at + count], part)?;
            result = self.b.ins().band(result, equal);
            at += count;
        }
        Ok(result)
    }
}
