//! Types that only C has and that are more than a name.
#![forbid(unsafe_code)]

use super::{Parser, Refusal};
use crate::signature::{CType, Member, Record, Type};

impl Parser<'_> {
    /// `C.vector[4]float32`
    pub(super) fn vector(&mut self, start: usize, level: u32) -> Result<Type, Refusal> {
        self.at += "C.vector".len();
        self.expect("[", "\"[\"")?;
        let len = self.length()?;
        self.expect("]", "\"]\"")?;
        let elem = self.ty(level + 1)?;
        Parser::built(start, Type::c(CType::Vector(len, elem)))
    }

    /// `C.struct pack 1 align 16 { A int8; B int32 : 5; C int8 align 4 }`
    pub(super) fn record(
        &mut self,
        start: usize,
        level: u32,
        is_union: bool,
    ) -> Result<Type, Refusal> {
        self.at += self.peek_path().len();
        let mut record = Record {
            is_union,
            ..Record::structure(Vec::new())
        };
        if self.take_word("pack") {
            record.pack = Some(self.number()?);
        }
        if self.take_word("align") {
            record.align = Some(self.number()?);
        }
        self.expect("{", "\"pack\", \"align\" or \"{\"")?;
        while !self.take("}") {
            let name = self.name("a member's name or \"}\"")?;
            let mut member = Member::new(name, self.ty(level + 1)?);
            if self.take(":") {
                let bits = self.number()?;
                // More bits than a u32 counts are as wrong as the most that it counts.
                member.bits = Some(u32::try_from(bits).unwrap_or(u32::MAX));
            }
            if self.take_word("align") {
                member.align = Some(self.number()?);
            }
            record.members.push(member);
            self.separator()?;
        }
        Parser::built(start, Type::c(CType::Record(record)))
    }

    fn number(&mut self) -> Result<u64, Refusal> {
        self.peek();
        let digits = self.digits();
        if digits.is_empty() {
            return Err(self.unexpected("a number"));
        }
        self.at += digits.len();
        // More digits than a u64 holds are as wrong as the largest u64.
        Ok(digits.parse().unwrap_or(u64::MAX))
    }
}
