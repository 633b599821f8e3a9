//! What serde's derived code asks of the reader: values, and the items of lists and objects.

use super::{Json, Problem, problem};
use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

impl<'de> Json<'de> {
    fn read_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Problem> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.mismatch(&visitor));
        }
        let begin = self.at;
        let number = self.number()?;
        match (number.whole, number.negative, 0_i64.checked_sub_unsigned(number.digits)) {
            (true, false, _) => visitor.visit_u64(number.digits),
            (true, true, Some(digits @ ..0)) => visitor.visit_i64(digits),
            _ => {
                self.at = begin;
                Err(self.mismatch(&visitor))
            }
        }
    }

    fn read_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Problem> {
        if !self.take(b'"') {
            return Err(self.mismatch(&visitor));
        }
        let text = self.string()?;
        visitor.visit_str(&text)
    }

    fn read_list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Problem> {
        if self.peek() != Some(b'[') {
            return Err(self.mismatch(&visitor));
        }
        self.enter()?;
        let mut items = Items { json: self, first: true, ended: false };
        let value = visitor.visit_seq(&mut items)?;
        // One that is longer than what is wanted of it.
        if !items.ended && items.json.another(&mut items.first, b']')? {
            return problem("trailing items");
        }
        Ok(value)
    }

    fn read_object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Problem> {
        if self.peek() != Some(b'{') {
            return Err(self.mismatch(&visitor));
        }
        self.enter()?;
        visitor.visit_map(Items { json: self, first: true, ended: false })
    }
}

macro_rules! read {
    ($($method:ident => $read:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            self.$read(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Json<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        Err(self.mismatch(&visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.peek() {
            Some(b't') => self.literal(b"true").and_then(|()| visitor.visit_bool(true)),
            Some(b'f') => self.literal(b"false").and_then(|()| visitor.visit_bool(false)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.peek() != Some(b'n') {
            return visitor.visit_some(self);
        }
        self.literal(b"null")?;
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.read_object(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.read_list(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let with_value = match self.peek() {
            Some(b'{') => true,
            Some(b'"') => false,
            _ => return Err(self.mismatch(&visitor)),
        };
        if with_value {
            self.enter()?;
        }
        let value = visitor.visit_enum(Variant { json: &mut *self, with_value })?;
        if with_value {
            self.expect(b'}')?;
            self.depth -= 1;
        }
        Ok(value)
    }

    read! {
        deserialize_u8 => read_number, deserialize_u16 => read_number, deserialize_u32 => read_number,
        deserialize_u64 => read_number, deserialize_str => read_text, deserialize_string => read_text,
        deserialize_identifier => read_text, deserialize_seq => read_list, deserialize_map => read_object,
    }

    // What no type of the filter's has.
    serde::forward_to_deserialize_any! { i8 i16 i32 i64 f32 f64 char bytes byte_buf unit unit_struct tuple_struct }
}

/// Items of an object or array.
struct Items<'a, 'de> {
    json: &'a mut Json<'de>,
    first: bool,
    ended: bool,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        self.ended = !self.json.another(&mut self.first, b']')?;
        if self.ended { Ok(None) } else { seed.deserialize(&mut *self.json).map(Some) }
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = Problem;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        if !self.json.another(&mut self.first, b'}')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.json).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        self.json.expect(b':')?;
        seed.deserialize(&mut *self.json)
    }
}

/// A variant of an enumeration, alone or as the one key of an object.
struct Variant<'a, 'de> {
    json: &'a mut Json<'de>,
    with_value: bool,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Problem> {
        let variant = seed.deserialize(&mut *self.json)?;
        if self.with_value {
            self.json.expect(b':')?;
        }
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        if !self.with_value || self.json.peek() == Some(b'n') {
            return if self.with_value { self.json.literal(b"null") } else { Ok(()) };
        }
        problem("this variant has no value")
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Problem> {
        if self.with_value { seed.deserialize(self.json) } else { problem("this variant has a value") }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.json.read_list(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        self.json.read_object(visitor)
    }
}
