//! What a readiness event is about, packed into mio's token: the kind above, the number below.

use mio::Token;

use crate::stack::{EchoId, FlowId, MappingId, PublishId};

/// A source of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Readiness {
    /// A command, or a sibling's mail, is waiting.
    Inbox,
    /// Frames are waiting in this queue of the uplink.
    Uplink(u32),
    /// The host socket of a flow.
    Flow(FlowId),
    /// The host socket of a UDP mapping.
    Mapping(MappingId),
    /// A ping socket.
    Echo(EchoId),
    /// A published port.
    Published(PublishId),
}

impl From<Readiness> for Token {
    fn from(readiness: Readiness) -> Self {
        let (kind, number) = match readiness {
            Readiness::Inbox => (0, 0),
            Readiness::Uplink(number) => (1, number),
            Readiness::Flow(FlowId(number)) => (2, number),
            Readiness::Mapping(MappingId(number)) => (3, number),
            Readiness::Echo(EchoId(number)) => (4, number),
            Readiness::Published(PublishId(number)) => (5, number),
        };
        Self(kind << NUMBER_BITS | number as usize)
    }
}

impl TryFrom<Token> for Readiness {
    type Error = Token;

    fn try_from(token: Token) -> Result<Self, Token> {
        let number = u32::try_from(token.0 & NUMBER_MASK).map_err(|_| token)?;
        match token.0 >> NUMBER_BITS {
            0 => Ok(Self::Inbox),
            1 => Ok(Self::Uplink(number)),
            2 => Ok(Self::Flow(FlowId(number))),
            3 => Ok(Self::Mapping(MappingId(number))),
            4 => Ok(Self::Echo(EchoId(number))),
            5 => Ok(Self::Published(PublishId(number))),
            _ => Err(token),
        }
    }
}

/// mio's token is a `usize`, which has 64 bits on every machine with enough memory for containers.
const NUMBER_BITS: u32 = 32;
const NUMBER_MASK: usize = (1 << NUMBER_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        for readiness in [
            Readiness::Inbox,
            Readiness::Uplink(3),
            Readiness::Flow(FlowId(u32::MAX)),
            Readiness::Mapping(MappingId(7)),
            Readiness::Echo(EchoId(0)),
            Readiness::Published(PublishId(3)),
        ] {
            assert_eq!(Readiness::try_from(Token::from(readiness)), Ok(readiness));
        }
    }
}
