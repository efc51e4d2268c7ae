//! `Entry`: a key, its deadline and its value in one allocation.
//!
//! ```text
//! offset 0   u32  access word: 24 bits of LRU or LFU, then the tag byte (below)
//!        4   u16  key length (0 with LONG_KEY)
//!        6   u16  value length, or the integer itself (SHORT)
//!        8   u64  key length                      only with LONG_KEY
//!        .   i64  deadline, milliseconds          only with TTL
//!        .        key
//!        .        body: see `Form`
//! tag: bits 0-2 kind, 3-5 form, 6 TTL, 7 LONG_KEY
//! ```
//! The size asked of the allocator is always the whole class ([`class_bytes`]), computed from the
//! lengths: what fits the class is changed in place, and nothing stores a capacity.
//! A 16-byte key with an 8-byte value takes 32 bytes, 48 with a deadline; with 64 bytes 96 either way.
//!
//! Invariants:
//! - The access word is only read and written atomically through `&Entry`; its tag byte and
//!   everything else change through `&mut Entry` alone, which the table gives out for entries that no
//!   snapshot sees.
//! - What the body points to belongs to this entry alone ([`Chunks`] share their pieces by count); a copy
//!   is deep, but for a [`Large`] value: that owns copy-on-write blocks, which the copy takes over.
//!
//! To add a type: a `Kind`, its forms, and what the compiler then asks for.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::base::hash::HashSeed;
use crate::base::time::UnixMs;
use crate::container::{self, Domain, Owned};
use crate::sys::alloc::class_bytes;

use super::access::ACCESS_MASK;
use super::chunks::Chunks;
use super::large::Large;
use super::string::{EMBSTR_BYTES_MAX, StringEncoding, StringRef, int_of};

/// Bytes of the longest value that is kept inside the entry.
const EMBEDDED_BYTES_MAX: usize = 4096;
/// Up to this length a value is kept inside whatever the allocator's rounding costs.
const EMBEDDED_BYTES_ALWAYS: usize = 256;
/// Bytes of the longest value in one piece; longer ones are [`Chunks`].
pub const BLOCK_BYTES_MAX: usize = u16::MAX as usize;

const HEADER: usize = 8;
const WORD: usize = 8;
const TTL: u8 = 1 << 6;
const LONG_KEY: u8 = 1 << 7;

/// The types of values, each in any encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
}

impl Kind {
    /// All types, in the order of their declaration.
    pub const ALL: [Kind; 6] = [
        Kind::String,
        Kind::List,
        Kind::Set,
        Kind::Zset,
        Kind::Hash,
        Kind::Stream,
    ];

    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Zset => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }

    fn bits(self) -> u8 {
        match self {
            Kind::String => 0,
            Kind::List => 1,
            Kind::Set => 2,
            Kind::Zset => 3,
            Kind::Hash => 4,
            Kind::Stream => 5,
        }
    }

    fn of(tag: u8) -> Kind {
        match tag & 7 {
            0 => Kind::String,
            1 => Kind::List,
            2 => Kind::Set,
            3 => Kind::Zset,
            4 => Kind::Hash,
            5 => Kind::Stream,
            bits => unreachable!("kind {bits}"),
        }
    }
}

/// How the body is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// A 16-bit integer in the value length's place; no body.
    Short,
    /// An `i64`, unaligned.
    Int,
    /// The bytes.
    Embedded,
    /// The bytes, in the type's second encoding: of a string that was changed in part, of a set of integers, of a hash
    /// whose fields have deadlines.
    EmbeddedOther,
    /// A pointer to the bytes, in an allocation of their class.
    Block,
    /// As `Block`, in the second encoding. Not for strings.
    BlockOther,
    /// A pointer to a boxed [`Chunks`]. Only for strings.
    Chunked,
    /// A pointer to a boxed [`Large`]. Not for strings.
    Large,
}

impl Form {
    fn bits(self) -> u8 {
        let number = match self {
            Form::Short => 0,
            Form::Int => 1,
            Form::Embedded => 2,
            Form::EmbeddedOther => 3,
            Form::Block => 4,
            Form::Chunked => 5,
            Form::BlockOther => 6,
            Form::Large => 7,
        };
        number << 3
    }

    fn of(tag: u8) -> Form {
        match tag >> 3 & 7 {
            0 => Form::Short,
            1 => Form::Int,
            2 => Form::Embedded,
            3 => Form::EmbeddedOther,
            4 => Form::Block,
            5 => Form::Chunked,
            6 => Form::BlockOther,
            _ => Form::Large,
        }
    }
}

/// A value to be stored.
pub enum Value<'a> {
    /// An integer.
    Int(i64),
    /// Bytes up to [`BLOCK_BYTES_MAX`]; `true` for a string that was changed in part (never `embstr`).
    Bytes(&'a [u8], bool),
    /// A longer string.
    Chunks(Chunks),
    /// A small collection: its type and bytes, up to [`BLOCK_BYTES_MAX`]; `true` for the type's second encoding.
    Packed(Kind, &'a [u8], bool),
    /// A large collection.
    Large(Box<Large>),
}

impl<'a> Value<'a> {
    /// How Redis would keep a string that is set whole: as an integer if it is the decimal form of one.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Value<'a> {
        match int_of(bytes) {
            Some(number) => Value::Int(number),
            None => Value::raw(bytes, false),
        }
    }

    /// These bytes as bytes.
    #[inline]
    pub fn raw(bytes: &'a [u8], changed: bool) -> Value<'a> {
        if bytes.len() > BLOCK_BYTES_MAX {
            Value::Chunks(Chunks::new(bytes))
        } else {
            Value::Bytes(bytes, changed)
        }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Int(_) | Value::Bytes(..) | Value::Chunks(_) => Kind::String,
            Value::Packed(kind, ..) => *kind,
            Value::Large(large) => large.kind(),
        }
    }

    /// The form for an entry whose bytes before the body are `head`, and the body's length there.
    #[inline]
    fn shape(&self, head: usize) -> (Form, usize) {
        match self {
            Value::Int(number) if i16::try_from(*number).is_ok() => (Form::Short, 0),
            Value::Int(_) => (Form::Int, WORD),
            Value::Bytes(bytes, changed) => {
                let len = bytes.len();
                assert!(len <= BLOCK_BYTES_MAX);
                match (is_outside(head, len), changed) {
                    (true, _) => (Form::Block, WORD),
                    (false, true) => (Form::EmbeddedOther, len),
                    (false, false) => (Form::Embedded, len),
                }
            }
            Value::Chunks(_) => (Form::Chunked, WORD),
            Value::Packed(_, bytes, other) => packed_shape(head, bytes.len(), *other),
            Value::Large(_) => (Form::Large, WORD),
        }
    }
}

/// As [`Value::shape`], for a small collection of `len` bytes.
fn packed_shape(head: usize, len: usize, other: bool) -> (Form, usize) {
    assert!(len <= BLOCK_BYTES_MAX);
    match (is_outside(head, len), other) {
        (false, false) => (Form::Embedded, len),
        (false, true) => (Form::EmbeddedOther, len),
        (true, false) => (Form::Block, WORD),
        (true, true) => (Form::BlockOther, WORD),
    }
}

/// Whether a value of `len` bytes is kept in an allocation of its own: when that takes less.
#[inline]
fn is_outside(head: usize, len: usize) -> bool {
    len > EMBEDDED_BYTES_ALWAYS
        && (len > EMBEDDED_BYTES_MAX
            || class_bytes(head + len) > class_bytes(head + WORD) + class_bytes(len))
}

const _: () = assert!(class_bytes(HEADER + 16 + 8) == 32);
const _: () = assert!(class_bytes(HEADER + 8 + 16 + 8) == 40);
const _: () = assert!(class_bytes(HEADER + 8 + 16 + 64) == 96);
const _: () = assert!(class_bytes(129) == 160 && class_bytes(257) == 320);
const _: () = assert!(class_bytes(40_000) == 40_960 && class_bytes(65_535) == 65_536);

fn allocate(bytes: usize) -> NonNull<u8> {
    let Ok(layout) = Layout::from_size_align(class_bytes(bytes), 8) else {
        unreachable!("beyond the address space")
    };
    // SAFETY: the size is at least 8.
    match NonNull::new(unsafe { alloc(layout) }) {
        Some(pointer) => pointer,
        None => handle_alloc_error(layout),
    }
}

/// # Safety
/// `pointer` came from [`allocate`] with a size of the same class, and is given up.
unsafe fn release(pointer: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise; the layout is that of `allocate`.
    unsafe {
        dealloc(
            pointer,
            Layout::from_size_align_unchecked(class_bytes(bytes), 8),
        )
    }
}

/// The header of an entry; see the file's header for what follows it.
#[repr(C)]
pub struct Entry {
    access: AtomicU32,
    key_len: u16,
    value_len: u16,
}

const _: () = assert!(size_of::<Entry>() == HEADER);

impl Entry {
    /// An entry in no table. Panics when the value is longer than its variant allows.
    pub fn new(
        key: &[u8],
        value: Value<'_>,
        expire_at: Option<UnixMs>,
        access: u32,
    ) -> Owned<Entry> {
        let mut tag = value.kind().bits();
        let mut head = HEADER + key.len();
        if key.len() > usize::from(u16::MAX) {
            tag |= LONG_KEY;
            head += WORD;
        }
        if expire_at.is_some() {
            tag |= TTL;
            head += WORD;
        }
        let (form, body) = value.shape(head);
        let pointer = allocate(head + body).cast::<Entry>();
        let key_len = if tag & LONG_KEY == 0 {
            key.len() as u16
        } else {
            0
        };
        let word = access & ACCESS_MASK | u32::from(tag) << 24;
        // SAFETY: a fresh allocation with room for head and body, aligned to 8; the body is written before
        // anyone reads it.
        unsafe {
            pointer.write(Entry {
                access: AtomicU32::new(word),
                key_len,
                value_len: 0,
            });
            let entry = &mut *pointer.as_ptr();
            if tag & LONG_KEY != 0 {
                entry.at(HEADER).cast::<u64>().write(key.len() as u64);
            }
            if let Some(deadline) = expire_at {
                entry
                    .at(entry.expire_offset())
                    .cast::<i64>()
                    .write(deadline);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), entry.at(entry.key_offset()), key.len());
            entry.write_body(value, form, None);
            Owned::from_raw(pointer)
        }
    }

    // ---- reading ---------------------------------------------------------------------------

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        // SAFETY: the key's bytes are inside the allocation and initialised.
        unsafe { std::slice::from_raw_parts(self.peek(self.key_offset()), self.key_bytes()) }
    }

    /// The type of the value.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::of(self.tag())
    }

    /// The deadline; the key is due once the clock is past it.
    #[inline]
    pub fn expire_at(&self) -> Option<UnixMs> {
        if self.tag() & TTL == 0 {
            return None;
        }
        // SAFETY: the tag says that a deadline is there, aligned to 8.
        Some(unsafe { self.peek(self.expire_offset()).cast::<i64>().read() })
    }

    /// The value of a string. Callers that may meet another type look at [`Entry::kind`] first.
    #[inline]
    pub fn string(&self) -> StringRef<'_> {
        assert_eq!(self.kind(), Kind::String);
        self.string_body()
    }

    /// The bytes of a small collection, and whether they are in the type's second encoding.
    #[inline]
    pub fn packed(&self) -> Option<(&[u8], bool)> {
        let (start, other) = match self.form() {
            Form::Embedded => (self.body(), false),
            Form::EmbeddedOther => (self.body(), true),
            Form::Block => (self.outside().cast_const(), false),
            Form::BlockOther => (self.outside().cast_const(), true),
            Form::Short | Form::Int | Form::Chunked | Form::Large => return None,
        };
        // SAFETY: these forms have so many bytes there.
        let bytes = unsafe { std::slice::from_raw_parts(start, usize::from(self.value_len)) };
        Some((bytes, other))
    }

    /// A large collection.
    #[inline]
    pub fn large(&self) -> Option<&Large> {
        match self.form() {
            // SAFETY: the body is a pointer to a box that this entry owns.
            Form::Large => Some(unsafe { &*self.outside().cast::<Large>() }),
            _ => None,
        }
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        if let Some(large) = self.large() {
            return large.encoding();
        }
        let other = matches!(self.form(), Form::EmbeddedOther | Form::BlockOther);
        match (self.kind(), other) {
            (Kind::String, _) => self.string_encoding().name(),
            (Kind::Set, true) => "intset",
            (Kind::Hash, true) => "listpackex",
            (Kind::List, true) => unreachable!("a list has one small encoding"),
            (Kind::Zset, true) => unreachable!("a sorted set has one small encoding"),
            (Kind::Stream, _) => unreachable!("a stream has no small encoding"),
            (Kind::List | Kind::Set | Kind::Zset | Kind::Hash, false) => "listpack",
        }
    }

    fn string_encoding(&self) -> StringEncoding {
        match self.form() {
            Form::Short | Form::Int => StringEncoding::Int,
            Form::Embedded if usize::from(self.value_len) <= EMBSTR_BYTES_MAX => {
                StringEncoding::Embstr
            }
            _ => StringEncoding::Raw,
        }
    }

    /// A copy of the value, to be stored under another key. O(1) for strings, O(elements) for others.
    pub fn value(&self, domain: &mut Domain) -> Value<'_> {
        if let Some(large) = self.large() {
            return Value::Large(Box::new(large.duplicate(domain)));
        }
        match (self.kind(), self.packed()) {
            (Kind::String, _) => self.string_value(),
            (kind, Some((bytes, other))) => Value::Packed(kind, bytes, other),
            (kind, None) => unreachable!("{kind:?} without a body"),
        }
    }

    /// As [`Entry::value`], of a string.
    pub fn string_value(&self) -> Value<'_> {
        match self.string() {
            StringRef::Int(number) => Value::Int(number),
            StringRef::Bytes(bytes) => Value::Bytes(bytes, self.form() == Form::EmbeddedOther),
            StringRef::Chunked(chunks) => Value::Chunks(chunks.clone()),
        }
    }

    /// The 24 bits that LRU or LFU keep; see [`super::access`].
    #[inline]
    pub fn access(&self) -> u32 {
        self.access.load(Ordering::Relaxed) & ACCESS_MASK
    }

    /// Sets them. The only write through a shared reference; only the loop's thread does it.
    #[inline]
    pub fn set_access(&self, access: u32) {
        let word = self.access.load(Ordering::Relaxed) & !ACCESS_MASK | access & ACCESS_MASK;
        self.access.store(word, Ordering::Relaxed);
    }

    /// Bytes that the allocator gave for the entry and its value.
    pub fn memory_bytes(&self) -> usize {
        let outside = match self.form() {
            Form::Short | Form::Int | Form::Embedded | Form::EmbeddedOther => 0,
            Form::Block | Form::BlockOther => class_bytes(usize::from(self.value_len)),
            Form::Chunked => match self.string_body() {
                StringRef::Chunked(chunks) => {
                    chunks.memory_bytes() + class_bytes(size_of::<Chunks>())
                }
                StringRef::Int(_) | StringRef::Bytes(_) => 0,
            },
            Form::Large => {
                self.large().map_or(0, Large::memory_bytes) + class_bytes(size_of::<Large>())
            }
        };
        class_bytes(self.used_bytes()) + outside
    }

    /// Whether dropping it is work for a helper: more than eight chunks, or 64 elements.
    #[inline]
    pub fn is_large(&self) -> bool {
        match self.form() {
            Form::Chunked => self.memory_bytes() > 8 * super::chunks::CHUNK_BYTES,
            Form::Large => self.large().is_some_and(|large| large.len() > 64),
            _ => false,
        }
    }

    // ---- writing ---------------------------------------------------------------------------

    /// Whether [`Entry::try_store`] would do it without freeing a large value on the spot.
    #[inline]
    pub fn fits(&self, value: &Value<'_>, expire_at: Option<UnixMs>) -> bool {
        let head = self.head_bytes(expire_at.is_some());
        let body = value.shape(head).1;
        class_bytes(head + body) == class_bytes(self.used_bytes())
            && !self.is_large()
            && self.form() != Form::Large
    }

    /// Puts another value and deadline in place, when they take an allocation of the same class.
    #[inline]
    pub fn try_store<'a>(
        &mut self,
        value: Value<'a>,
        expire_at: Option<UnixMs>,
    ) -> Result<(), Value<'a>> {
        let head = self.head_bytes(expire_at.is_some());
        let (form, body) = value.shape(head);
        if class_bytes(head + body) != class_bytes(self.used_bytes()) {
            return Err(value);
        }
        let spare = self.take_outside(&value, form);
        // SAFETY: the allocation has the room, as compared above; what the old body pointed to is in
        // `spare` or freed.
        unsafe {
            self.write_expire(expire_at, self.key_bytes());
            self.write_body(value, form, spare);
        }
        Ok(())
    }

    /// Sets or removes the deadline in place, if the allocation's class stays.
    pub fn try_expire(&mut self, expire_at: Option<UnixMs>) -> bool {
        let body = self.used_bytes() - self.head_bytes(self.tag() & TTL != 0);
        if class_bytes(self.head_bytes(expire_at.is_some()) + body)
            != class_bytes(self.used_bytes())
        {
            return false;
        }
        // SAFETY: there is room, and the body moves along with the key.
        unsafe { self.write_expire(expire_at, self.key_bytes() + body) };
        true
    }

    /// The same entry with another deadline, in another allocation; what the body points to moves.
    pub fn with_expire(old: Owned<Entry>, expire_at: Option<UnixMs>) -> Owned<Entry> {
        let (from, to) = (
            old.head_bytes(old.tag() & TTL != 0),
            old.head_bytes(expire_at.is_some()),
        );
        let used = old.used_bytes();
        let body = used - from;
        let raw = old.into_raw();
        let pointer = allocate(to + body).cast::<Entry>();
        // SAFETY: the new allocation holds head and body; the old one is this function's and is
        // released without looking at its body, which the new one has taken over.
        unsafe {
            let old = raw.as_ref();
            let mut tag = old.tag() & !TTL;
            if expire_at.is_some() {
                tag |= TTL;
            }
            let word = old.access() | u32::from(tag) << 24;
            pointer.write(Entry {
                access: AtomicU32::new(word),
                key_len: old.key_len,
                value_len: old.value_len,
            });
            let entry = &mut *pointer.as_ptr();
            if tag & LONG_KEY != 0 {
                entry.at(HEADER).cast::<u64>().write(old.key_bytes() as u64);
            }
            if let Some(deadline) = expire_at {
                entry
                    .at(entry.expire_offset())
                    .cast::<i64>()
                    .write(deadline);
            }
            let key_and_body = old.key_bytes() + body;
            ptr::copy_nonoverlapping(
                old.peek(old.key_offset()),
                entry.at(entry.key_offset()),
                key_and_body,
            );
            release(raw.as_ptr().cast(), used);
            Owned::from_raw(pointer)
        }
    }

    /// Appends in place, when it takes no other allocation. The string is `raw` afterwards.
    pub fn try_append(&mut self, bytes: &[u8]) -> bool {
        if self.form() == Form::Chunked {
            self.chunks_mut().append(bytes);
            return true;
        }
        let Some(end) = self.try_extend(bytes.len()) else {
            return false;
        };
        // SAFETY: `end` has room for the bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len()) };
        true
    }

    /// Overwrites part of the string in place, when it takes no other allocation; a gap before it is filled with zeros.
    /// The string is `raw` afterwards.
    pub fn try_write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let len = usize::from(self.value_len);
        if self.form() == Form::Chunked {
            self.chunks_mut().write(offset, bytes);
            return true;
        }
        let Some(end) = offset.checked_add(bytes.len()) else {
            return false;
        };
        let added = end.saturating_sub(len);
        let Some(old_end) = self.try_extend(added) else {
            return false;
        };
        // SAFETY: the value now holds `end` bytes at least; those added begin at `old_end`.
        unsafe {
            old_end.write_bytes(0, added);
            let target = old_end.sub(len).add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        true
    }

    /// The bytes of a string in one piece, to be changed in place: `None` for the other forms. The string is
    /// `raw` afterwards.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let len = usize::from(self.value_len);
        let end = match self.form() {
            Form::Chunked => return None,
            Form::Short | Form::Int | Form::Embedded | Form::EmbeddedOther | Form::Block => {
                self.try_extend(0)?
            }
            Form::BlockOther | Form::Large => unreachable!("not of a string"),
        };
        // SAFETY: the value's bytes end there, and belong to this entry.
        Some(unsafe { std::slice::from_raw_parts_mut(end.sub(len), len) })
    }

    /// Makes a string in one piece longer, when it takes no other allocation: where the `added` bytes begin,
    /// which the caller writes. The string is `raw` afterwards.
    fn try_extend(&mut self, added: usize) -> Option<*mut u8> {
        let old = usize::from(self.value_len);
        let len = old + added;
        if len > BLOCK_BYTES_MAX {
            return None;
        }
        match self.form() {
            Form::Short | Form::Int | Form::Chunked => None,
            Form::Embedded | Form::EmbeddedOther => {
                let head = self.used_bytes() - old;
                if added > 0
                    && (is_outside(head, len) || class_bytes(head + len) != class_bytes(head + old))
                {
                    return None;
                }
                self.value_len = len as u16;
                self.set_form(Form::EmbeddedOther);
                Some(self.at(head + old))
            }
            Form::Block => {
                if class_bytes(len) != class_bytes(old) {
                    return None;
                }
                self.value_len = len as u16;
                Some(self.outside().wrapping_add(old))
            }
            Form::BlockOther | Form::Large => unreachable!("not of a string"),
        }
    }

    // ---- collections -----------------------------------------------------------------------

    /// The large collection for writing; its blocks change through the domain.
    #[inline]
    pub fn large_mut(&mut self) -> Option<&mut Large> {
        match self.form() {
            // SAFETY: the body is a pointer to a box that this entry owns.
            Form::Large => Some(unsafe { &mut *self.outside().cast::<Large>() }),
            _ => None,
        }
    }

    /// Where the bytes of a small collection are, and their length; the class they may fill in place with `len` bytes
    /// instead is compared by [`Entry::try_splice`].
    fn packed_mut(&mut self) -> (*mut u8, usize) {
        let len = usize::from(self.value_len);
        match self.form() {
            Form::Embedded | Form::EmbeddedOther => (self.at(self.used_bytes() - len), len),
            Form::Block | Form::BlockOther => (self.outside(), len),
            form => unreachable!("{form:?} is not packed"),
        }
    }

    /// In a small collection, puts `inserted` in the place of `removed` bytes at `at`, if it takes an allocation of the
    /// same class. Panics when out of range.
    pub fn try_splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        let (start, old) = self.packed_mut();
        assert!(at <= old && removed <= old - at);
        let tail = old - at - removed;
        let len = at + inserted.len() + tail;
        let fits = match self.form() {
            Form::Embedded | Form::EmbeddedOther => {
                let head = self.used_bytes() - old;
                len <= BLOCK_BYTES_MAX
                    && !is_outside(head, len)
                    && class_bytes(head + len) == class_bytes(head + old)
            }
            _ => len <= BLOCK_BYTES_MAX && class_bytes(len) == class_bytes(old),
        };
        if fits {
            // SAFETY: the class has room for `len` bytes from `start`, of which `old` are there.
            unsafe {
                let from = start.add(at + removed);
                ptr::copy(from, start.add(at + inserted.len()), tail);
                ptr::copy_nonoverlapping(inserted.as_ptr(), start.add(at), inserted.len());
            }
            self.value_len = len as u16;
        }
        fits
    }

    /// As [`Entry::try_splice`], into another allocation. Panics when out of range, or when the result is longer than
    /// [`BLOCK_BYTES_MAX`].
    pub fn with_splice(
        old: Owned<Entry>,
        at: usize,
        removed: usize,
        inserted: &[u8],
    ) -> Owned<Entry> {
        let Some((bytes, other)) = old.packed() else {
            unreachable!("{:?} is not packed", old.form())
        };
        let mut whole = Vec::with_capacity(bytes.len() + inserted.len());
        whole.extend_from_slice(&bytes[..at]);
        whole.extend_from_slice(inserted);
        whole.extend_from_slice(&bytes[at + removed..]);
        let value = Value::Packed(old.kind(), &whole, other);
        Entry::new(old.key(), value, old.expire_at(), old.access())
    }

    /// Overwrites bytes of a small collection. Panics when out of range.
    pub fn write_packed(&mut self, at: usize, bytes: &[u8]) {
        let (start, len) = self.packed_mut();
        assert!(at + bytes.len() <= len);
        // SAFETY: inside the `len` bytes at `start`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(at), bytes.len()) }
    }

    /// The same entry with another value; a large one is to be given up before ([`Entry::retire_large`]).
    pub fn with_value(old: Owned<Entry>, value: Value<'_>) -> Owned<Entry> {
        Entry::new(old.key(), value, old.expire_at(), old.access())
    }

    /// The same value, deadline and access word under another key.
    pub fn with_key(mut old: Owned<Entry>, key: &[u8]) -> Owned<Entry> {
        let (expire_at, access) = (old.expire_at(), old.access());
        if let Some(large) = old.take_large() {
            return Entry::new(key, Value::Large(large), expire_at, access);
        }
        let value = match old.packed() {
            Some((bytes, other)) if old.kind() != Kind::String => {
                Value::Packed(old.kind(), bytes, other)
            }
            _ => old.string_value(),
        };
        Entry::new(key, value, expire_at, access)
    }

    /// Takes the box of a large collection out; an empty string is left behind.
    fn take_large(&mut self) -> Option<Box<Large>> {
        if self.form() != Form::Large {
            return None;
        }
        let large = self.outside().cast::<Large>();
        // SAFETY: the box is taken once: the body that is left has room for no more than its word, and owns nothing.
        unsafe {
            self.set_tag(self.tag() & !7);
            self.write_body(Value::Int(i64::MAX), Form::Int, None);
            Some(Box::from_raw(large))
        }
    }

    /// Gives a large collection up to the domain; an empty value is left in its place.
    pub fn retire_large(&mut self, domain: &mut Domain) {
        if let Some(large) = self.take_large() {
            large.retire(domain);
        }
    }

    // ---- the layout ------------------------------------------------------------------------

    #[inline]
    fn tag(&self) -> u8 {
        (self.access.load(Ordering::Relaxed) >> 24) as u8
    }

    fn form(&self) -> Form {
        Form::of(self.tag())
    }

    fn set_tag(&mut self, tag: u8) {
        let word = self.access.get_mut();
        *word = *word & ACCESS_MASK | u32::from(tag) << 24;
    }

    fn set_form(&mut self, form: Form) {
        self.set_tag(self.tag() & !(7 << 3) | form.bits());
    }

    #[inline]
    fn peek(&self, offset: usize) -> *const u8 {
        ptr::from_ref(self).cast::<u8>().wrapping_add(offset)
    }

    #[inline]
    fn at(&mut self, offset: usize) -> *mut u8 {
        ptr::from_mut(self).cast::<u8>().wrapping_add(offset)
    }

    #[inline]
    fn expire_offset(&self) -> usize {
        HEADER + if self.tag() & LONG_KEY != 0 { WORD } else { 0 }
    }

    #[inline]
    fn key_offset(&self) -> usize {
        let tag = self.tag();
        HEADER + WORD * usize::from(tag >> 7) + WORD * usize::from(tag >> 6 & 1)
    }

    #[inline]
    fn key_bytes(&self) -> usize {
        if self.tag() & LONG_KEY == 0 {
            return usize::from(self.key_len);
        }
        // SAFETY: the tag says that the length is there, aligned to 8.
        unsafe { self.peek(HEADER).cast::<u64>().read() as usize }
    }

    /// Bytes before the body, with or without a deadline.
    fn head_bytes(&self, with_expire: bool) -> usize {
        self.expire_offset() + if with_expire { WORD } else { 0 } + self.key_bytes()
    }

    /// Bytes of the allocation in use.
    #[inline]
    fn used_bytes(&self) -> usize {
        let body = match self.form() {
            Form::Short => 0,
            Form::Embedded | Form::EmbeddedOther => usize::from(self.value_len),
            Form::Int | Form::Block | Form::BlockOther | Form::Chunked | Form::Large => WORD,
        };
        self.key_offset() + self.key_bytes() + body
    }

    /// Where the body begins.
    #[inline]
    fn body(&self) -> *const u8 {
        self.peek(self.key_offset() + self.key_bytes())
    }

    /// The pointer in the body. Only for `Block`, `BlockOther`, `Chunked` and `Large`.
    #[inline]
    fn outside(&self) -> *mut u8 {
        debug_assert!(matches!(
            self.form(),
            Form::Block | Form::BlockOther | Form::Chunked | Form::Large
        ));
        // SAFETY: these forms have a pointer as their body, unaligned.
        unsafe { self.body().cast::<*mut u8>().read_unaligned() }
    }

    #[inline]
    fn string_body(&self) -> StringRef<'_> {
        let len = usize::from(self.value_len);
        // SAFETY: each form's body is as `Form` says, inside the allocation or owned through it.
        unsafe {
            match self.form() {
                Form::Short => StringRef::Int(i64::from(self.value_len as i16)),
                Form::Int => StringRef::Int(self.body().cast::<i64>().read_unaligned()),
                Form::Embedded | Form::EmbeddedOther => {
                    StringRef::Bytes(std::slice::from_raw_parts(self.body(), len))
                }
                Form::Block => StringRef::Bytes(std::slice::from_raw_parts(self.outside(), len)),
                Form::Chunked => StringRef::Chunked(&*self.outside().cast::<Chunks>()),
                Form::BlockOther | Form::Large => unreachable!("not of a string"),
            }
        }
    }

    fn chunks_mut(&mut self) -> &mut Chunks {
        assert_eq!(self.form(), Form::Chunked);
        // SAFETY: the body is a pointer to a box that this entry owns.
        unsafe { &mut *self.outside().cast::<Chunks>() }
    }

    /// Frees what the body points to, unless it is a block that `value` can have: then returns it.
    fn take_outside(&mut self, value: &Value<'_>, form: Form) -> Option<*mut u8> {
        let old = usize::from(self.value_len);
        match (self.form(), value) {
            (Form::Block, Value::Bytes(bytes, _))
                if form == Form::Block && class_bytes(bytes.len()) == class_bytes(old) =>
            {
                Some(self.outside())
            }
            (Form::Block | Form::BlockOther | Form::Chunked, _) => {
                // SAFETY: the caller overwrites the body.
                unsafe { self.free_outside() };
                None
            }
            (Form::Short | Form::Int | Form::Embedded | Form::EmbeddedOther, _) => None,
            (Form::Large, _) => unreachable!("blocks are given up with their entry"),
        }
    }

    /// # Safety
    /// The body is not read again.
    unsafe fn free_outside(&mut self) {
        match self.form() {
            Form::Short | Form::Int | Form::Embedded | Form::EmbeddedOther => {}
            // SAFETY: owned by this entry alone, allocated with a size of this class.
            Form::Block | Form::BlockOther => unsafe {
                release(self.outside(), usize::from(self.value_len))
            },
            // SAFETY: a box that this entry owns.
            Form::Chunked => unsafe { drop(Box::from_raw(self.outside().cast::<Chunks>())) },
            // SAFETY: a box that this entry owns, and its blocks; the caller gives them up.
            Form::Large => unsafe { Box::from_raw(self.outside().cast::<Large>()).free() },
        }
    }

    /// Writes the body and what the header says of it. `spare` is a block of the right class.
    ///
    /// # Safety
    /// The allocation has room for the body of `form`; the old body owns nothing but `spare`.
    unsafe fn write_body(&mut self, value: Value<'_>, form: Form, spare: Option<*mut u8>) {
        self.set_tag(self.tag() & !0x3f | value.kind().bits() | form.bits());
        let body = self.at(self.key_offset() + self.key_bytes());
        // SAFETY: the caller's promise.
        unsafe {
            match value {
                Value::Int(number) => match i16::try_from(number) {
                    Ok(short) => self.value_len = short as u16,
                    Err(_) => {
                        self.value_len = 0;
                        body.cast::<i64>().write_unaligned(number);
                    }
                },
                Value::Bytes(bytes, _) | Value::Packed(_, bytes, _) => {
                    self.value_len = bytes.len() as u16;
                    let mut target = body;
                    if matches!(form, Form::Block | Form::BlockOther) {
                        target = spare.unwrap_or_else(|| allocate(bytes.len()).as_ptr());
                        body.cast::<*mut u8>().write_unaligned(target);
                    }
                    ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
                }
                Value::Chunks(chunks) => {
                    self.value_len = 0;
                    let boxed = Box::into_raw(Box::new(chunks));
                    body.cast::<*mut Chunks>().write_unaligned(boxed);
                }
                Value::Large(large) => {
                    self.value_len = 0;
                    body.cast::<*mut Large>()
                        .write_unaligned(Box::into_raw(large));
                }
            }
        }
    }

    /// Writes the deadline; when it comes or goes, `moved` bytes from the key on move.
    ///
    /// # Safety
    /// The allocation has room for the result.
    unsafe fn write_expire(&mut self, expire_at: Option<UnixMs>, moved: usize) {
        let had = self.tag() & TTL != 0;
        let offset = self.expire_offset();
        // SAFETY: the caller's promise; source and target may overlap.
        unsafe {
            if had != expire_at.is_some() {
                let from = self.peek(self.key_offset());
                let to = if had { offset } else { offset + WORD };
                ptr::copy(from, self.at(to), moved);
                self.set_tag(self.tag() ^ TTL);
            }
            if let Some(deadline) = expire_at {
                self.at(offset).cast::<i64>().write(deadline);
            }
        }
    }
}

// SAFETY: `free` and `copy` are counterparts of `new`; allocations are aligned to 8; only the access
// word is written through a shared reference; the key never changes.
unsafe impl container::Entry for Entry {
    type Hasher = HashSeed;

    fn hash(&self, hasher: &HashSeed) -> u64 {
        hasher.hash(self.key())
    }

    fn copy(&self) -> Owned<Entry> {
        let used = self.used_bytes();
        let pointer = allocate(used).cast::<Entry>();
        // SAFETY: `used` bytes are initialised here and fit there; the access word may be stored to
        // meanwhile, so it is loaded atomically. What the body points to is then copied.
        unsafe {
            let access = AtomicU32::new(self.access.load(Ordering::Relaxed));
            pointer.write(Entry {
                access,
                key_len: self.key_len,
                value_len: self.value_len,
            });
            let copy = &mut *pointer.as_ptr();
            ptr::copy_nonoverlapping(self.peek(HEADER), copy.at(HEADER), used - HEADER);
            let body = copy.at(self.key_offset() + self.key_bytes());
            match self.form() {
                Form::Short | Form::Int | Form::Embedded | Form::EmbeddedOther => {}
                Form::Block | Form::BlockOther => {
                    let len = usize::from(self.value_len);
                    let block = allocate(len).as_ptr();
                    ptr::copy_nonoverlapping(self.outside(), block, len);
                    body.cast::<*mut u8>().write_unaligned(block);
                }
                Form::Chunked => {
                    let chunks = (*self.outside().cast::<Chunks>()).clone();
                    body.cast::<*mut Chunks>()
                        .write_unaligned(Box::into_raw(Box::new(chunks)));
                }
                Form::Large => {
                    // The copy is the owner of the blocks; this entry's box goes with `free_shell`.
                    let large = (*self.outside().cast::<Large>()).share();
                    body.cast::<*mut Large>()
                        .write_unaligned(Box::into_raw(Box::new(large)));
                }
            }
            Owned::from_raw(pointer)
        }
    }

    fn bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn owns_blocks(&self) -> bool {
        self.form() == Form::Large
    }

    unsafe fn free_shell(this: NonNull<Entry>) {
        // SAFETY: the caller gives the entry up, and its blocks have another owner.
        unsafe {
            let entry = &mut *this.as_ptr();
            let used = entry.used_bytes();
            if entry.form() == Form::Large {
                Box::from_raw(entry.outside().cast::<Large>()).forget();
            } else {
                entry.free_outside();
            }
            release(this.as_ptr().cast(), used);
        }
    }

    unsafe fn free(this: NonNull<Entry>) {
        // SAFETY: the caller gives the entry up.
        unsafe {
            let entry = &mut *this.as_ptr();
            let used = entry.used_bytes();
            entry.free_outside();
            release(this.as_ptr().cast(), used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::container::Entry as _;

    fn text(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        entry.string().push_to(&mut out);
        out
    }

    fn random_bytes(prng: &mut Prng) -> Vec<u8> {
        let len = match prng.below(6) {
            0 => 0,
            1..=2 => prng.below(50),
            3 => prng.below(600),
            4 => prng.below(10_000),
            _ => prng.below(100_000),
        };
        if prng.below(4) == 0 {
            return (prng.next_u64() as i64 >> prng.below(64))
                .to_string()
                .into_bytes();
        }
        let mut bytes = vec![b'x'; len as usize];
        prng.fill(&mut bytes);
        bytes
    }

    #[test]
    fn sizes_are_as_planned() {
        let bytes = |value: usize, ttl: Option<i64>| {
            Entry::new(&[b'k'; 16], Value::of(&vec![b'v'; value]), ttl, 0).memory_bytes()
        };
        assert_eq!((bytes(8, None), bytes(8, Some(1))), (32, 40));
        assert_eq!((bytes(64, None), bytes(64, Some(1))), (96, 96));
        assert_eq!(bytes(512, None), 512 + 32);
        assert_eq!(
            Entry::new(&[b'k'; 16], Value::Int(12_345), Some(1), 0).memory_bytes(),
            32
        );
    }

    #[test]
    fn encodings_have_redis_names() {
        let name = |value: Value<'_>| Entry::new(b"k", value, None, 0).encoding();
        assert_eq!(name(Value::of(b"123")), "int");
        assert_eq!(name(Value::of(b"-9223372036854775808")), "int");
        assert_eq!(name(Value::of(b"0123")), "embstr");
        assert_eq!(name(Value::of(&[b'a'; 44])), "embstr");
        assert_eq!(name(Value::of(&[b'a'; 45])), "raw");
        assert_eq!(name(Value::raw(b"a", true)), "raw");
        assert_eq!(name(Value::of(&[b'a'; 70_000])), "raw");
    }

    #[test]
    fn random_changes_agree_with_a_vector() {
        for seed in 0..40 {
            let mut prng = Prng::new(seed);
            let key_len = [0, 1, 16, 300, 65_535, 65_536, 70_000][prng.below(7) as usize];
            let mut key = vec![0; key_len];
            prng.fill(&mut key);
            let mut twin = random_bytes(&mut prng);
            let mut expire = (prng.below(2) == 0).then_some(77);
            let mut entry = Entry::new(&key, Value::of(&twin), expire, 99);
            for _ in 0..200 {
                match prng.below(6) {
                    0 => {
                        let bytes = random_bytes(&mut prng);
                        let ttl = (prng.below(2) == 0).then(|| prng.next_u64() as i64);
                        if let Err(value) = entry.try_store(Value::of(&bytes), ttl) {
                            entry = Entry::new(&key, value, ttl, entry.access());
                        }
                        (twin, expire) = (bytes, ttl);
                    }
                    1 => {
                        expire = (prng.below(2) == 0).then(|| prng.next_u64() as i64);
                        if !entry.try_expire(expire) {
                            entry = Entry::with_expire(entry, expire);
                        }
                    }
                    2 => {
                        let bytes = vec![b'a'; prng.below(40) as usize];
                        if entry.try_append(&bytes) {
                            twin.extend_from_slice(&bytes);
                            assert_eq!(entry.encoding(), "raw");
                        }
                    }
                    3 => {
                        let offset = prng.below(twin.len() as u64 + 40) as usize;
                        let bytes = vec![b'w'; prng.below(30) as usize];
                        if entry.try_write(offset, &bytes) {
                            let end = offset + bytes.len();
                            twin.resize(end.max(twin.len()), 0);
                            twin[offset..end].copy_from_slice(&bytes);
                            assert_eq!(entry.encoding(), "raw");
                        }
                        if let Some(bytes) = entry.bytes_mut() {
                            assert_eq!(bytes, twin);
                            bytes.reverse();
                            twin.reverse();
                        }
                    }
                    4 => {
                        let copy = entry.copy();
                        entry.try_write(0, b"");
                        entry = copy;
                    }
                    _ => entry = Entry::new(&key, entry.string_value(), expire, entry.access()),
                }
                assert_eq!(entry.key(), key);
                assert_eq!(entry.expire_at(), expire);
                assert!(text(&entry) == twin, "seed {seed}");
                assert_eq!(entry.access(), 99);
                assert!(entry.memory_bytes() >= twin.len().min(8));
            }
        }
    }
}
