//! Expectations: a measurement's name and what must hold of it. Only the words; the engine judges them.

use std::fmt;

/// What a comparison compares with, in base units.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A bare number: a count, or a ratio.
    Number(f64),
    /// A duration.
    Seconds(f64),
    /// A size.
    Bytes(f64),
    /// A percentage, as a part of one.
    Ratio(f64),
    /// True or false.
    Flag(bool),
    /// A word, such as a reason.
    Word(String),
}

/// How a measured value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`, `==`, or nothing.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    Greater,
    /// `>=`.
    AtLeast,
}

/// One comparison, such as `<= 5%`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// `expect` of a job: for each name what must hold; a list means all must. Empty: nothing is expected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect(pub Vec<(String, Vec<Comparison>)>);

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.operator, self.operand)
    }
}
