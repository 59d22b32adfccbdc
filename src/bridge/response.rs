//! The bytes of a `DecideResponse` to actions for the ACK, in one pass: all of them or none.
//!
//! Numbers are the fields of `proto/spopbridge/v1/decision.proto`. A field that is written twice means what protobuf says: the
//! last value counts, and messages are merged.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::config::{Variable, VariablePattern};
use crate::protobuf::{Field, Fields, WireError};
use crate::spop::{ActionError, Actions, TypedData, VarScope, check_name};

/// Why a response cannot be carried out.
#[derive(Debug, Error)]
pub(crate) enum ResponseError {
    #[error("not a DecideResponse: {0}")]
    Wire(#[from] WireError),
    #[error("actions[{index}]: {problem}")]
    Action { index: usize, problem: ActionProblem },
    #[error("the actions take {length} bytes or more, the frame has room for {room}")]
    TooBig { length: usize, room: usize },
}

/// What is wrong with an action.
#[derive(Debug, Error)]
pub(crate) enum ActionProblem {
    #[error("neither set_var nor unset_var is set")]
    Nothing,
    #[error("scope {0} is not a VarScope")]
    Scope(u64),
    #[error(transparent)]
    Name(#[from] ActionError),
    #[error("{0} is a variable of the bridge's own: status_variable, or one of decision_variables")]
    OfTheBridge(Variable),
    #[error("{variable} is not among the variables of routes[{route}]")]
    NotAllowed { variable: Variable, route: usize },
    #[error("set_var has no value")]
    NoValue,
    #[error("an {kind} has {length} bytes, expected {expected}")]
    AddressLength { kind: &'static str, length: usize, expected: usize },
}

/// What an ACK can hold, and what a service may put into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    /// Bytes that HAProxy's variable prefix takes of a name's 63.
    pub(crate) prefix_length: usize,
    /// Bytes of actions.
    pub(crate) room: usize,
    /// Variables that the bridge sets itself.
    pub(crate) own: &'a [Variable],
    /// Those that the route lists, if it does, and its position.
    pub(crate) allowed: Option<(usize, &'a [VariablePattern])>,
}

/// Decodes and checks a response.
pub(crate) fn decode(response: &[u8], limits: Limits<'_>) -> Result<Actions, ResponseError> {
    // An action is shorter in SPOP than in protobuf, but for addresses and the like.
    let mut actions = Actions::with_capacity(response.len().min(limits.room));
    let mut index = 0;
    for field in Fields::new(response) {
        let field = field?;
        if field.number == 1 {
            let action = Action::decode(field.bytes()?)?;
            action.encode(limits, &mut actions).map_err(|problem| ResponseError::Action { index, problem })?;
            index += 1;
            if actions.len_bytes() > limits.room {
                return Err(ResponseError::TooBig { length: actions.len_bytes(), room: limits.room });
            }
        }
    }
    Ok(actions)
}

/// A `SetVar` or `UnsetVar` as it was written, not yet checked.
#[derive(Default)]
struct Written<'a> {
    scope: u64,
    name: &'a [u8],
    value: Option<Value<'a>>,
}

enum Action<'a> {
    Nothing,
    SetVar(Written<'a>),
    UnsetVar(Written<'a>),
}

impl<'a> Action<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut action = Self::Nothing;
        for field in Fields::new(bytes) {
            let field = field?;
            action = match (field.number, action) {
                (1, Self::SetVar(variable)) => Self::SetVar(variable.merge(field.bytes()?, true)?),
                (1, _) => Self::SetVar(Written::default().merge(field.bytes()?, true)?),
                (2, Self::UnsetVar(variable)) => Self::UnsetVar(variable.merge(field.bytes()?, false)?),
                (2, _) => Self::UnsetVar(Written::default().merge(field.bytes()?, false)?),
                (_, action) => action,
            };
        }
        Ok(action)
    }

    fn encode(&self, limits: Limits<'_>, actions: &mut Actions) -> Result<(), ActionProblem> {
        match self {
            Self::Nothing => return Err(ActionProblem::Nothing),
            Self::SetVar(variable) => {
                let scope = variable.scope(limits)?;
                let value = variable.value.as_ref().ok_or(ActionProblem::NoValue)?.typed_data()?;
                actions.set_var(scope, variable.name, value)?;
            }
            Self::UnsetVar(variable) => {
                let scope = variable.scope(limits)?;
                actions.unset_var(scope, variable.name)?;
            }
        }
        Ok(())
    }
}

impl<'a> Written<'a> {
    /// Reads more fields into it. `UnsetVar` has the first two of `SetVar`'s fields.
    fn merge(mut self, bytes: &'a [u8], has_value: bool) -> Result<Self, WireError> {
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1 => self.scope = field.varint()?,
                2 => self.name = field.text()?,
                3 if has_value => self.value.get_or_insert_default().merge(field.bytes()?)?,
                _ => {}
            }
        }
        Ok(self)
    }

    fn scope(&self, limits: Limits<'_>) -> Result<VarScope, ActionProblem> {
        // An enum is an int32: higher bits do not count.
        let scope = match self.scope as u32 {
            0 | 3 => VarScope::Transaction,
            1 => VarScope::Process,
            2 => VarScope::Session,
            4 => VarScope::Request,
            5 => VarScope::Response,
            _ => return Err(ActionProblem::Scope(self.scope)),
        };
        check_name(scope, limits.prefix_length, self.name)?;
        if limits.own.iter().any(|own| own.scope == scope && own.name.as_bytes() == self.name) {
            return Err(ActionProblem::OfTheBridge(self.variable(scope)));
        }
        match limits.allowed {
            Some((route, allowed)) if !allowed.iter().any(|allowed| allowed.matches(scope, self.name)) => {
                Err(ActionProblem::NotAllowed { variable: self.variable(scope), route })
            }
            _ => Ok(scope),
        }
    }

    /// For people.
    fn variable(&self, scope: VarScope) -> Variable {
        Variable { scope, name: String::from_utf8_lossy(self.name).into_owned() }
    }
}

/// A `Value` as it was written: the last of `kind`, and the raw string.
#[derive(Default)]
struct Value<'a> {
    kind: Option<Field<'a>>,
    raw_string: &'a [u8],
}

impl<'a> Value<'a> {
    fn merge(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                1..=4 => {
                    field.varint()?;
                    self.kind = Some(field);
                }
                5 | 6 | 8 => {
                    field.bytes()?;
                    self.kind = Some(field);
                }
                7 => {
                    field.text()?;
                    self.kind = Some(field);
                }
                9 => self.raw_string = field.bytes()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn typed_data(&self) -> Result<TypedData<'a>, ActionProblem> {
        if !self.raw_string.is_empty() {
            return Ok(TypedData::String(self.raw_string));
        }
        let field = self.kind.ok_or(ActionProblem::NoValue)?;
        // `merge` has checked the wire types.
        let (number, bytes) = (field.varint().unwrap_or_default(), field.bytes().unwrap_or_default());
        Ok(match field.number {
            1 => TypedData::Null,
            2 => TypedData::Bool(number != 0),
            3 => TypedData::Int64(number as i64),
            4 => TypedData::Uint64(number),
            5 => TypedData::Ipv4(Ipv4Addr::from(address::<4>("ipv4", bytes)?)),
            6 => TypedData::Ipv6(Ipv6Addr::from(address::<16>("ipv6", bytes)?)),
            7 => TypedData::String(bytes),
            _ => TypedData::Binary(bytes),
        })
    }
}

fn address<const LENGTH: usize>(kind: &'static str, bytes: &[u8]) -> Result<[u8; LENGTH], ActionProblem> {
    bytes.try_into().map_err(|_| ActionProblem::AddressLength { kind, length: bytes.len(), expected: LENGTH })
}
