//! What stands before a declarator: words that make a type, qualifiers, attributes.
#![forbid(unsafe_code)]

use super::attributes::Attributes;
use super::lex::Token;
use super::parse::{Declared, Parser, Refusal};
use crate::quote::short;
use crate::signature::{CType, DataModel, Kind, MAX_NAME, Type, WideChar};

/// What is read before a declarator, and the attributes behind it.
#[derive(Debug)]
pub(super) struct Specifiers {
    /// Where they begin.
    pub(super) at: usize,
    base: Declared,
    pub(super) is_typedef: bool,
    /// They define a struct or union without a tag.
    is_untagged: bool,
    pub(super) attributes: Attributes,
}

/// Words that change nothing about how a value travels.
const QUALIFIERS: &[&str] = &[
    "const",
    "volatile",
    "restrict",
    "__const",
    "__volatile__",
    "__restrict",
    "__restrict__",
    "_Nonnull",
    "_Nullable",
];

/// Words of a declaration that say nothing about its type.
const STORAGE: &[&str] = &[
    "extern",
    "static",
    "inline",
    "__inline",
    "__inline__",
    "register",
    "_Noreturn",
    "__extension__",
];

/// Keywords of types; spelled otherwise by some headers.
const WORDS: &[(&str, &str)] = &[
    ("void", "void"),
    ("char", "char"),
    ("short", "short"),
    ("int", "int"),
    ("long", "long"),
    ("signed", "signed"),
    ("__signed__", "signed"),
    ("unsigned", "unsigned"),
    ("float", "float"),
    ("double", "double"),
    ("_Bool", "_Bool"),
    ("bool", "_Bool"),
    ("_Complex", "_Complex"),
    ("__complex__", "_Complex"),
    ("__int128", "__int128"),
    ("_Float16", "_Float16"),
];

/// Types by their keywords in alphabetic order, without an `int` or `signed` that says nothing.
const BASES: &[(&str, Base)] = &[
    ("_Bool", Base::Kind(Kind::Bool)),
    ("_Complex double", Base::Kind(Kind::Complex128)),
    ("_Complex double long", Base::C(CType::ComplexLongDouble)),
    ("_Complex float", Base::Kind(Kind::Complex64)),
    ("_Float16", Base::C(CType::Float16)),
    ("__int128", Base::C(CType::Int128)),
    ("__int128 unsigned", Base::C(CType::Uint128)),
    ("char", Base::Char),
    ("char signed", Base::Kind(Kind::Int8)),
    ("char unsigned", Base::Kind(Kind::Uint8)),
    ("double", Base::Kind(Kind::Float64)),
    ("double long", Base::C(CType::LongDouble)),
    ("float", Base::Kind(Kind::Float32)),
    ("int", Base::Kind(Kind::Int32)),
    ("long", Base::Long),
    ("long long", Base::Kind(Kind::Int64)),
    ("long long unsigned", Base::Kind(Kind::Uint64)),
    ("long unsigned", Base::UnsignedLong),
    ("short", Base::Kind(Kind::Int16)),
    ("short unsigned", Base::Kind(Kind::Uint16)),
    ("unsigned", Base::Kind(Kind::Uint32)),
];

/// Names that headers of the standard library define.
const NAMES: &[(&str, Base)] = &[
    ("__int128_t", Base::C(CType::Int128)),
    ("__uint128_t", Base::C(CType::Uint128)),
    ("char16_t", Base::Kind(Kind::Uint16)),
    ("char32_t", Base::Kind(Kind::Uint32)),
    ("int16_t", Base::Kind(Kind::Int16)),
    ("int32_t", Base::Kind(Kind::Int32)),
    ("int64_t", Base::Kind(Kind::Int64)),
    ("int8_t", Base::Kind(Kind::Int8)),
    ("intmax_t", Base::Kind(Kind::Int64)),
    ("intptr_t", Base::Kind(Kind::Int64)),
    ("ptrdiff_t", Base::Kind(Kind::Int64)),
    ("size_t", Base::Kind(Kind::Uint64)),
    ("ssize_t", Base::Kind(Kind::Int64)),
    ("uint16_t", Base::Kind(Kind::Uint16)),
    ("uint32_t", Base::Kind(Kind::Uint32)),
    ("uint64_t", Base::Kind(Kind::Uint64)),
    ("uint8_t", Base::Kind(Kind::Uint8)),
    ("uintmax_t", Base::Kind(Kind::Uint64)),
    ("uintptr_t", Base::Kind(Kind::Uintptr)),
    ("wchar_t", Base::WideChar),
];

/// A type, or what decides about it.
enum Base {
    Kind(Kind),
    C(CType),
    Char,
    Long,
    UnsignedLong,
    WideChar,
}

impl Base {
    fn of(&self, model: &DataModel) -> Type {
        let kind = match self {
            Base::Kind(kind) => kind.clone(),
            Base::C(ty) => Kind::C(ty.clone()),
            Base::Char if model.char_is_signed => Kind::Int8,
            Base::Char => Kind::Uint8,
            Base::Long if model.long == 4 => Kind::Int32,
            Base::Long => Kind::Int64,
            Base::UnsignedLong if model.long == 4 => Kind::Uint32,
            Base::UnsignedLong => Kind::Uint64,
            Base::WideChar => match model.wchar {
                WideChar::Int => Kind::Int32,
                WideChar::UnsignedInt => Kind::Uint32,
                WideChar::UnsignedShort => Kind::Uint16,
            },
        };
        Type::leaf(kind)
    }
}

fn keyword(word: &str) -> Option<&'static str> {
    let found = WORDS.iter().find(|(own, _)| *own == word)?;
    Some(found.1)
}

fn standard(name: &str) -> Option<&'static Base> {
    let at = NAMES.binary_search_by(|(own, _)| (*own).cmp(name)).ok()?;
    Some(&NAMES[at].1)
}

/// Whether C gives the word a meaning of its own, so that it can't name anything.
pub(super) fn is_reserved(word: &str) -> bool {
    [
        "struct",
        "union",
        "enum",
        "typedef",
        "_Alignas",
        "__attribute__",
    ]
    .contains(&word)
        || keyword(word).is_some()
        || QUALIFIERS.contains(&word)
        || STORAGE.contains(&word)
}

impl<'a> Parser<'a, '_> {
    /// Whether a type begins with this word.
    pub(super) fn begins_type(&self, word: &str) -> bool {
        is_reserved(word) || self.scope.types.contains_key(word) || standard(word).is_some()
    }

    pub(super) fn qualifiers(&mut self) -> Result<(), Refusal> {
        while let Token::Word(word) = self.peek()
            && (QUALIFIERS.contains(&word) || word == "static")
        {
            self.next()?;
        }
        Ok(())
    }

    /// All that stands before a declarator: a type, and words that say nothing about it.
    pub(super) fn specifiers(&mut self, level: u32) -> Result<Specifiers, Refusal> {
        self.nested(level)?;
        self.counted(1)?;
        let at = self.place();
        let mut made = Specifiers {
            at,
            base: Declared::Void,
            is_typedef: false,
            is_untagged: false,
            attributes: Attributes::default(),
        };
        let mut keywords: Vec<&'static str> = Vec::new();
        let mut whole = None;
        loop {
            self.attributes(&mut made)?;
            let Token::Word(word) = self.peek() else {
                break;
            };
            let has_type = whole.is_some() || !keywords.is_empty();
            if let Some(own) = keyword(word).filter(|_| whole.is_none()) {
                let most = if own == "long" { 2 } else { 1 };
                if keywords.iter().filter(|known| **known == own).count() == most {
                    return Err(self.unexpected("a type's keyword no more often than C has it"));
                }
                keywords.push(own);
                self.next()?;
            } else if QUALIFIERS.contains(&word) || STORAGE.contains(&word) {
                self.next()?;
            } else if word == "typedef" && !made.is_typedef && level == 1 {
                made.is_typedef = true;
                self.next()?;
            } else if ["struct", "union"].contains(&word) && !has_type {
                let (declared, is_untagged) = self.record(level)?;
                (whole, made.is_untagged) = (Some(declared), is_untagged);
            } else if word == "enum" && !has_type {
                whole = Some(self.enumeration(level)?);
            } else if let Some(known) = self.known(word).filter(|_| !has_type) {
                whole = Some(known);
                self.next()?;
            } else {
                break;
            }
        }
        made.base = match whole {
            Some(declared) => declared,
            None if keywords.is_empty() => {
                return Err(self.unexpected("a type (C's own, or one that is declared here)"));
            }
            None => self.by_keywords(at, keywords)?,
        };
        Ok(made)
    }

    /// What a name has been declared as.
    fn known(&self, name: &str) -> Option<Declared> {
        let own = self.scope.types.get(name).cloned();
        let own = own.map(|own| self.scope.completed(own));
        own.or_else(|| Some(Declared::Object(standard(name)?.of(&self.scope.model))))
    }

    fn by_keywords(&self, at: usize, mut words: Vec<&'static str>) -> Result<Declared, Refusal> {
        if words == ["void"] {
            return Ok(Declared::Void);
        }
        words.sort_unstable();
        let written = words.join(" ");
        // `unsigned long int` is `unsigned long`, `signed` is `int`.
        let has = |word: &str| words.contains(&word);
        let says_nothing = |word: &str| match word {
            "int" => has("long") || has("short") || has("unsigned") || has("signed"),
            "signed" => !has("char"),
            _ => false,
        };
        let mut kept: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !says_nothing(word))
            .collect();
        let integer = ["int", "char", "short", "long", "__int128"]
            .iter()
            .any(|w| has(w));
        let contradicts = has("signed") && (has("unsigned") || !integer && words.len() > 1)
            || has("int") && (has("char") || has("__int128") || has("double") || has("float"));
        if kept.is_empty() {
            kept.push("int");
        }
        let text = kept.join(" ");
        let found = BASES.binary_search_by(|(own, _)| (*own).cmp(&text));
        match found {
            Ok(at) if !contradicts => Ok(Declared::Object(BASES[at].1.of(&self.scope.model))),
            _ => {
                let found = format!("{:?}", short(&written).to_string());
                Err(self.refusal(at, found, "keywords that make a type of C's together"))
            }
        }
    }

    /// The struct or union that specifiers define, if it has no tag: without a declarator its
    /// members are the outer one's. One with a tag, or the name of one, declares no member in C.
    pub(super) fn unnamed_record(&self, specifiers: &Specifiers) -> Option<Type> {
        match &specifiers.base {
            Declared::Object(ty) if specifiers.is_untagged => Some(ty.clone()),
            _ => None,
        }
    }

    /// The type that specifiers name, with their attributes.
    pub(super) fn base(&self, specifiers: &Specifiers) -> Result<Declared, Refusal> {
        let Some(bytes) = specifiers.attributes.vector else {
            return Ok(specifiers.base.clone());
        };
        let at = specifiers.at;
        let (element, size) = match &specifiers.base {
            Declared::Object(ty) => (ty, self.scope.model.layout(ty).map_or(0, |l| l.size)),
            _ => return Err(self.refusal(at, "a vector of no type".to_owned(), "elements")),
        };
        if size == 0 || bytes % size != 0 {
            let found = format!("a vector of {bytes} bytes of {}", short(element));
            return Err(self.refusal(at, found, "a number of bytes that holds whole elements"));
        }
        let vector = CType::Vector(bytes / size, element.clone());
        Ok(Declared::Object(Parser::built(at, Type::c(vector))?))
    }

    /// A name for something new.
    pub(super) fn check_new_name(&self, at: usize, name: &str) -> Result<(), Refusal> {
        if is_reserved(name) || name.len() > MAX_NAME {
            let found = format!("{:?}", short(name).to_string());
            return Err(self.refusal(at, found, "a name of at most 255 bytes, no keyword"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are searched by halves.
    #[test]
    fn tables_are_sorted() {
        assert!(BASES.is_sorted_by_key(|(name, _)| name));
        assert!(NAMES.is_sorted_by_key(|(name, _)| name));
    }
}
