//! Structs, unions and enumerations.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::attributes::Attributes;
use super::lex::Token;
use super::parse::{Declared, Parser, Refusal};
use crate::quote::short;
use crate::signature::{Enumeration, Field, Member, Record, Type, TypeError, is_identifier};

/// The name of a member: C's, with `_` before it if it is one of Go's keywords, as cgo has it.
fn member_name(name: &str) -> Cow<'_, str> {
    if is_identifier(name) {
        name.into()
    } else {
        format!("_{name}").into()
    }
}

/// The name of a member in C: what [`member_name`] made it of.
pub(super) fn own_name(name: &str) -> &str {
    match name.strip_prefix('_') {
        // No number: Go's keywords begin with a small letter.
        Some(rest)
            if rest.starts_with(|c: char| c.is_ascii_lowercase()) && !is_identifier(rest) =>
        {
            rest
        }
        _ => name,
    }
}

impl<'a> Parser<'a, '_> {
    /// `struct TAG`, or with a body; and whether it has no tag.
    pub(super) fn record(&mut self, level: u32) -> Result<(Declared, bool), Refusal> {
        let at = self.place();
        let is_union = self.peek() == Token::Word("union");
        self.next()?;
        let mut attributes = Attributes::default();
        self.attributes_into(&mut attributes)?;
        let tag = self.tag(if is_union { "union" } else { "struct" })?;
        let pragma = self.pragma();
        if !self.take("{")? {
            let Some(tag) = tag else {
                return Err(self.unexpected("a tag or \"{\""));
            };
            return Ok((self.scope.completed(Declared::Incomplete(tag)), false));
        }
        let mut members = Vec::new();
        while self.peek() != Token::Sign("}") {
            self.members(&mut members, level + 1)?;
        }
        if self.pragma() != pragma {
            let found = "another #pragma pack than at its beginning".to_owned();
            return Err(self.refusal(self.place(), found, "one for the whole struct or union"));
        }
        self.next()?;
        self.attributes_into(&mut attributes)?;
        let pack = Self::packing(attributes.is_packed, pragma, &mut members);
        let align = attributes.aligned;
        let is_plain = |member: &Member| member.bits.is_none() && member.align.is_none();
        let made = if !is_union && pack.is_none() && align.is_none() && members.iter().all(is_plain)
        {
            let field = |member: Member| Field::new(&member.name, member.ty);
            Type::structure(members.into_iter().map(field).collect())
        } else {
            let record = Record {
                pack,
                align,
                ..match is_union {
                    true => Record::union(members),
                    false => Record::structure(members),
                }
            };
            Type::c(crate::signature::CType::Record(record))
        };
        let ty = Parser::built(at, made)?;
        let has_tag = tag.is_some();
        if let Some(tag) = tag {
            self.define(at, tag, &ty)?;
        }
        Ok((Declared::Object(ty), !has_tag))
    }

    /// The `#pragma pack` that holds here.
    fn pragma(&self) -> Option<u64> {
        self.pack.last().copied().flatten()
    }

    /// What `packed` and a `#pragma pack` make of these members together.
    ///
    /// A pragma bounds a member's own alignment too, and the attribute does not. It lets bit-fields
    /// lie across anything, whatever it bounds them to, and bounds those of a packed struct from
    /// below. A [`Record`] has one word for both, so it is refused where they differ.
    fn packing(is_packed: bool, pragma: Option<u64>, members: &mut [Member]) -> Option<u64> {
        let Some(most) = pragma else {
            return is_packed.then_some(1);
        };
        if most == 1 {
            let aligned = members.iter_mut().filter(|member| member.bits.is_none());
            aligned.for_each(|member| member.align = None);
            return Some(1);
        }
        let is_plain = |member: &Member| member.bits.is_none() && member.align.is_none();
        // Asked for is asked for, by every ABI; of itself nothing is aligned to more than 16.
        let is_bounded = |member: &Member| member.ty.layout().is_some_and(|own| own.align > most);
        match members.iter().all(is_plain) {
            false => Some(most),
            true if is_packed => Some(1),
            true if most == 16 && !members.iter().any(is_bounded) => None,
            true => Some(most),
        }
    }

    fn define(&mut self, at: usize, tag: String, ty: &Type) -> Result<(), Refusal> {
        if self.scope.tags.contains_key(&tag) {
            let found = format!("a second definition of {}", short(&tag));
            return Err(self.refusal(at, found, "one"));
        }
        self.scope.tags.insert(tag, ty.clone());
        Ok(())
    }

    /// The tag that stands here, as it is known: `struct point`.
    fn tag(&mut self, keyword: &str) -> Result<Option<String>, Refusal> {
        let Token::Word(word) = self.peek() else {
            return Ok(None);
        };
        self.check_new_name(self.place(), word)?;
        self.next()?;
        Ok(Some(format!("{keyword} {word}")))
    }

    /// One declaration of members.
    fn members(&mut self, members: &mut Vec<Member>, level: u32) -> Result<(), Refusal> {
        if self.take(";")? {
            return Ok(());
        }
        let mut specifiers = self.specifiers(level)?;
        if self.peek() == Token::Sign(";") {
            let Some(ty) = self.unnamed_record(&specifiers) else {
                return Err(self.unexpected("a member's name, or a struct or union without tag"));
            };
            members.push(Member::new("_", ty));
            return self.next();
        }
        let shared = specifiers.attributes;
        loop {
            let at = self.place();
            specifiers.attributes = shared;
            let declarator = self.declarator(&mut specifiers, level)?;
            let name = declarator.name;
            let declared = self.declared(&specifiers, declarator)?;
            let wanted = "a member with a size";
            let ty = match declared {
                Declared::Object(ty) => ty,
                Declared::Incomplete(tag) => return Err(self.incomplete(at, &tag)),
                Declared::Void => return Err(self.refusal(at, "void".to_owned(), wanted)),
                Declared::Unsized(_) => {
                    let found = "an array without length".to_owned();
                    return Err(self.refusal(at, found, wanted));
                }
                Declared::Function(_) => {
                    return Err(self.refusal(at, "a function".to_owned(), wanted));
                }
            };
            let bits = if self.take(":")? {
                let bits = self.count(level + 1, "a number of bits")?;
                // More bits than a u32 counts are as wrong as the most that it counts.
                Some(u32::try_from(bits).unwrap_or(u32::MAX))
            } else {
                None
            };
            self.attributes(&mut specifiers)?;
            if specifiers.attributes.is_packed {
                let found = "a packed member".to_owned();
                return Err(self.refusal(at, found, "packed for the whole struct"));
            }
            let name = match name {
                Some((at, name)) => {
                    self.check_new_name(at, name)?;
                    member_name(name)
                }
                None if bits.is_some() => "_".into(),
                None => return Err(self.unexpected("a member's name")),
            };
            let mut member = Member::new(&name, ty);
            member.bits = bits;
            member.align = specifiers.attributes.aligned;
            members.push(member);
            self.counted(1)?;
            if self.take(";")? {
                return Ok(());
            }
            self.expect(",", "\",\" or \";\"")?;
        }
    }

    /// `enum TAG`, or with enumerators: an integer as wide as they need.
    pub(super) fn enumeration(&mut self, level: u32) -> Result<Declared, Refusal> {
        let at = self.place();
        self.next()?;
        let tag = self.tag("enum")?;
        if !self.take("{")? {
            return match tag
                .map(Declared::Incomplete)
                .map(|tag| self.scope.completed(tag))
            {
                Some(Declared::Incomplete(tag)) => Err(self.incomplete(at, &tag)),
                Some(declared) => Ok(declared),
                None => Err(self.unexpected("a tag or \"{\"")),
            };
        }
        let (mut next, mut least, mut most) = (0i128, 0i128, 0i128);
        while !self.take("}")? {
            let at = self.place();
            let Token::Word(name) = self.peek() else {
                return Err(self.unexpected("an enumerator's name or \"}\""));
            };
            self.check_new_name(at, name)?;
            self.next()?;
            if self.take("=")? {
                next = self.constant(level + 1)?;
            }
            (least, most) = (least.min(next), most.max(next));
            if self.scope.constants.insert(name.to_owned(), next).is_some() {
                let found = format!("a second enumerator {}", short(name));
                return Err(self.refusal(at, found, "one"));
            }
            next += 1;
            self.counted(1)?;
            if self.peek() != Token::Sign("}") {
                self.expect(",", "\",\" or \"}\"")?;
            }
        }
        let only_int = self.scope.model.enumeration == Enumeration::Int;
        let fits = |low: i128, high: i128| least >= low && most <= high;
        let has_32_bits = fits(i32::MIN.into(), i32::MAX.into()) || fits(0, u32::MAX.into());
        let ty = if only_int && has_32_bits {
            Type::int32()
        } else if only_int {
            let found = "enumerators of more than 32 bits".to_owned();
            let wanted = "at most 32, as Microsoft's compiler has an int and gcc has 64 bits";
            return Err(self.refusal(at, found, wanted));
        } else if least >= 0 && fits(0, u32::MAX.into()) {
            Type::uint32()
        } else if fits(i32::MIN.into(), i32::MAX.into()) {
            Type::int32()
        } else if least >= 0 {
            Type::uint64()
        } else {
            Type::int64()
        };
        if !fits(i64::MIN.into(), u64::MAX.into()) || least < 0 && most > i64::MAX.into() {
            let large = TypeError::TooLarge {
                what: "an enumerator".to_owned(),
            };
            return Parser::built(at, Err(large));
        }
        if let Some(tag) = tag {
            self.define(at, tag, &ty)?;
        }
        Ok(Declared::Object(ty))
    }
}
