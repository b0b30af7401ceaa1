//! One message: JSON of at most 4095 bytes, with every value checked.
//!
//! Pure. The errors are the original's, by which callers know what was wrong; where it has none (a port of 70000), the one
//! that names the value.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::{Map, Value, json};

use crate::network::ports::Protocol;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// `add_hostfwd`.
    Add(Forward),
    /// `list_hostfwd`.
    List,
    /// `remove_hostfwd`.
    Remove(u64),
}

/// A port of the host's and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) protocol: Protocol,
    pub(super) host: SocketAddrV4,
    pub(super) guest: SocketAddrV4,
}

/// What the bytes so far come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// A request.
    Asked(Request),
    /// None, for this reason.
    Refused(&'static str),
    /// The beginning of one.
    More,
}

/// Reads what has come so far, and whether that is all.
pub(super) fn read(message: &[u8], end: bool, guest: Ipv4Addr) -> Reading {
    let mut values = serde_json::Deserializer::from_slice(message).into_iter::<Value>();
    let value = match values.next() {
        _ if message.len() > LONGEST => return Reading::Refused("too large message"),
        Some(Ok(value)) => value,
        Some(Err(error)) if error.is_eof() && !end => return Reading::More,
        None if !end => return Reading::More,
        Some(Err(_)) | None => return Reading::Refused("cannot parse JSON"),
    };
    match request(&value, guest) {
        Ok(request) => Reading::Asked(request),
        Err(why) => Reading::Refused(why),
    }
}

/// The answer to what is no request, or failed.
pub(super) fn refusal(why: &str) -> String {
    json!({ "error": { "desc": format!("bad request: {why}") } }).to_string()
}

fn request(value: &Value, guest: Ipv4Addr) -> Result<Request, &'static str> {
    let object = value.as_object().ok_or("json_object() failed")?;
    let execute = object.get("execute").and_then(Value::as_str);
    let nothing = Map::new();
    let arguments = object.get("arguments").and_then(Value::as_object).unwrap_or(&nothing);
    match execute.ok_or("no execute found")? {
        "add_hostfwd" => forward(arguments, guest).map(Request::Add),
        "list_hostfwd" => Ok(Request::List),
        "remove_hostfwd" => {
            let id = arguments.get("id").and_then(whole);
            id.map(Request::Remove).ok_or("remove_hostfwd: bad arguments.id")
        }
        _ => Err("unknown execute"),
    }
}

fn forward(arguments: &Map<String, Value>, guest: Ipv4Addr) -> Result<Forward, &'static str> {
    let protocol = match arguments.get("proto").and_then(Value::as_str) {
        Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some(_) | None => return Err("add_hostfwd: bad arguments.proto"),
    };
    let host = address(arguments, "host_addr", Ipv4Addr::UNSPECIFIED).ok_or("add_hostfwd: bad arguments.host_addr")?;
    let host_port = port(arguments, "host_port").ok_or("add_hostfwd: bad arguments.host_port")?;
    let guest = address(arguments, "guest_addr", guest).ok_or("add_hostfwd: bad arguments.guest_addr")?;
    let guest_port = port(arguments, "guest_port").ok_or("add_hostfwd: bad arguments.guest_port")?;
    Ok(Forward {
        protocol,
        host: SocketAddrV4::new(host, host_port),
        guest: SocketAddrV4::new(guest, guest_port),
    })
}

/// Podman sends an empty guest address, RootlessKit may send an empty host address: neither means anything.
fn address(arguments: &Map<String, Value>, name: &str, default: Ipv4Addr) -> Option<Ipv4Addr> {
    match arguments.get(name) {
        None | Some(Value::Null) => Some(default),
        Some(Value::String(text)) if text.is_empty() => Some(default),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => None,
    }
}

fn port(arguments: &Map<String, Value>, name: &str) -> Option<u16> {
    let port = arguments.get(name).and_then(whole)?;
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Some clients know but one kind of number: 80.0 is 80.
fn whole(value: &Value) -> Option<u64> {
    let whole = value.as_f64().filter(|number| number.fract() == 0.0);
    value.as_u64().or_else(|| format!("{}", whole?).parse().ok())
}

/// Bytes of a message: the original's 4096 are too many.
pub(super) const LONGEST: usize = 4095;

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
    const ADD: &str = r#"{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":8080,"guest_addr":"10.0.2.7","guest_port":80}}"#;

    fn whole_message(text: &str) -> Reading {
        read(text.as_bytes(), true, GUEST)
    }

    fn added(text: &str) -> Forward {
        match whole_message(text) {
            Reading::Asked(Request::Add(forward)) => forward,
            other @ (Reading::Asked(_) | Reading::Refused(_) | Reading::More) => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn requests() {
        let expected = Forward {
            protocol: Protocol::Tcp,
            host: "127.0.0.1:8080".parse().unwrap(),
            guest: "10.0.2.7:80".parse().unwrap(),
        };
        assert_eq!(added(ADD), expected);
        let list = Reading::Asked(Request::List);
        assert_eq!(whole_message(r#"{"execute":"list_hostfwd"}"#), list);
        assert_eq!(whole_message("  {\"execute\":\"list_hostfwd\"}\n"), list);
        let remove = r#"{"execute":"remove_hostfwd","arguments":{"id":1.0}}"#;
        assert_eq!(whole_message(remove), Reading::Asked(Request::Remove(1)));
    }

    #[test]
    fn an_empty_address_is_none() {
        for addresses in ["", r#""host_addr":"","guest_addr":"","#, r#""guest_addr":null,"#] {
            let forward = added(&format!(
                r#"{{"execute":"add_hostfwd","arguments":{{"proto":"udp",{addresses}"host_port":9,"guest_port":9}}}}"#
            ));
            assert_eq!(forward.host.to_string(), "0.0.0.0:9");
            assert_eq!(forward.guest.to_string(), "10.0.2.100:9");
        }
    }

    #[test]
    fn however_it_is_cut() {
        for at in 0..ADD.len() {
            assert_eq!(
                read(&ADD.as_bytes()[..at], false, GUEST),
                Reading::More,
                "{at} bytes of it"
            );
            assert_eq!(
                read(&ADD.as_bytes()[..at], true, GUEST),
                Reading::Refused("cannot parse JSON"),
                "{at} bytes are all"
            );
        }
        assert!(matches!(read(ADD.as_bytes(), false, GUEST), Reading::Asked(_)));
    }

    #[test]
    fn as_long_as_it_may_be() {
        let padded = |len: usize| format!("{:<len$}", r#"{"execute":"list_hostfwd""#).replace("  ", " \n") + "}";
        assert_eq!(padded(4095).len(), 4096);
        assert_eq!(whole_message(&padded(4094)), Reading::Asked(Request::List));
        assert_eq!(whole_message(&padded(4095)), Reading::Refused("too large message"));
        let open = "[".repeat(LONGEST + 1);
        assert_eq!(
            read(open.as_bytes(), false, GUEST),
            Reading::Refused("too large message")
        );
    }

    #[test]
    fn every_value_is_checked() {
        let table = [
            ("", "cannot parse JSON"),
            ("nonsense", "cannot parse JSON"),
            ("{\"execute\"", "cannot parse JSON"),
            ("\u{fffd}", "cannot parse JSON"),
            ("[]", "json_object() failed"),
            ("7", "json_object() failed"),
            ("{}", "no execute found"),
            (r#"{"execute":7}"#, "no execute found"),
            (r#"{"execute":"x"}"#, "unknown execute"),
            (r#"{"execute":"add_hostfwd"}"#, "add_hostfwd: bad arguments.proto"),
            (
                r#"{"execute":"add_hostfwd","arguments":7}"#,
                "add_hostfwd: bad arguments.proto",
            ),
            (r#"{"execute":"remove_hostfwd"}"#, "remove_hostfwd: bad arguments.id"),
            (
                r#"{"execute":"remove_hostfwd","arguments":{"id":"1"}}"#,
                "remove_hostfwd: bad arguments.id",
            ),
            (
                r#"{"execute":"remove_hostfwd","arguments":{"id":-1}}"#,
                "remove_hostfwd: bad arguments.id",
            ),
            (
                r#"{"execute":"remove_hostfwd","arguments":{"id":1.5}}"#,
                "remove_hostfwd: bad arguments.id",
            ),
        ];
        for (text, why) in table {
            assert_eq!(whole_message(text), Reading::Refused(why), "{text}");
        }
        let wrong = [
            "null", "true", "-1", "0", "65536", "70000", "80.5", "1e300", "\"80\"", "[]", "{}",
        ];
        for (name, why) in [
            ("host_port", "add_hostfwd: bad arguments.host_port"),
            ("guest_port", "add_hostfwd: bad arguments.guest_port"),
        ] {
            for value in wrong {
                let mut message: Value = serde_json::from_str(ADD).unwrap();
                message["arguments"][name] = serde_json::from_str(value).unwrap();
                assert_eq!(
                    whole_message(&message.to_string()),
                    Reading::Refused(why),
                    "{name}: {value}"
                );
            }
        }
        for (name, why) in [
            ("proto", "add_hostfwd: bad arguments.proto"),
            ("host_addr", "add_hostfwd: bad arguments.host_addr"),
            ("guest_addr", "add_hostfwd: bad arguments.guest_addr"),
        ] {
            for value in [
                "true",
                "7",
                "[]",
                "{}",
                "\"sctp\"",
                "\"::1\"",
                "\"1.2.3\"",
                "\"0x7f.1\"",
            ] {
                let mut message: Value = serde_json::from_str(ADD).unwrap();
                message["arguments"][name] = serde_json::from_str(value).unwrap();
                assert_eq!(
                    whole_message(&message.to_string()),
                    Reading::Refused(why),
                    "{name}: {value}"
                );
            }
        }
        for name in ["proto", "host_port", "guest_port"] {
            let mut message: Value = serde_json::from_str(ADD).unwrap();
            message["arguments"].as_object_mut().unwrap().remove(name);
            let why = format!("add_hostfwd: bad arguments.{name}");
            assert!(
                matches!(whole_message(&message.to_string()), Reading::Refused(said) if said == why),
                "{name}"
            );
        }
    }

    /// Messages that were good once: read or refused, and never anything else.
    #[test]
    fn any_bytes_at_all() {
        let mut state: u64 = 0x2545_f491_4f6c_dd1d;
        let mut draw = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let pieces: [&[u8]; 12] = [
            b"{", b"}", b"[", b"\"", b":", b",", b"-", b"e9", b"null", b"\\u0000", b"\xff", b"1",
        ];
        let (mut asked, mut refused) = (0, 0);
        for _ in 0..100_000 {
            let mut message = ADD.as_bytes().to_vec();
            for _ in 0..draw(4) {
                let at = draw(message.len() + 1);
                let until = (at + draw(6)).min(message.len());
                message.splice(at..until, pieces[draw(pieces.len())].iter().copied());
            }
            match read(&message, draw(2) == 0, GUEST) {
                Reading::Asked(_) => asked += 1,
                Reading::Refused(_) => refused += 1,
                Reading::More => {}
            }
        }
        assert!(asked > 1000 && refused > 1000, "{asked} {refused}");
    }
}
