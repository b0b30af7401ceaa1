//! DNS messages on their way through: a container's question, an upstream's answer (RFC 1035 section 4.1, RFC 6891).
//!
//! A question is taken apart by hickory-proto, whole, and goes upstream as the bytes it came in. Of an answer only the
//! outline is looked at, so that records of types that nobody here knows pass untouched. Pure.

use bytes::Bytes;
use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

/// What becomes of a container's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A question.
    Ask(Query),
    /// Answered on the spot: we don't do that.
    Answer(Bytes),
    /// Malformed, or an answer itself (which could go round in circles).
    Drop,
}

/// One question, in a message that may be forwarded as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    message: Bytes,
    /// Bytes of the question section.
    question: usize,
    asked: Question,
    header: Metadata,
    edns: Option<ClientEdns>,
}

/// What the client says of itself in its OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClientEdns {
    version: u8,
    udp_size: u16,
}

/// Looks at a message from a container.
pub(super) fn judge(message: Bytes) -> Verdict {
    if message.len() > MAX_QUERY {
        return Verdict::Drop;
    }
    let mut decoder = BinDecoder::new(&message);
    let Ok(Header { metadata, .. }) = Header::read(&mut decoder) else {
        return Verdict::Drop;
    };
    if metadata.message_type == MessageType::Response {
        return Verdict::Drop;
    }
    if metadata.op_code != OpCode::Query {
        let answer = Message::error_msg(metadata.id, metadata.op_code, ResponseCode::NotImp);
        return encode(&answer, MAX_QUERY).map_or(Verdict::Drop, Verdict::Answer);
    }
    match Query::read(message) {
        Some(query) if ZONE_TRANSFERS.contains(&query.kind()) => query
            .failure(ResponseCode::Refused)
            .map_or(Verdict::Drop, Verdict::Answer),
        Some(query) => Verdict::Ask(query),
        None => Verdict::Drop,
    }
}

impl Query {
    /// `None` when the message is not exactly one question and a few well-formed additional records.
    fn read(message: Bytes) -> Option<Self> {
        let mut decoder = BinDecoder::new(&message);
        let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
        if (counts.queries, counts.answers, counts.authorities) != (1, 0, 0) || counts.additionals > MAX_ADDITIONAL {
            return None;
        }
        let asked = Question::read(&mut decoder).ok()?;
        let question = decoder.index() - HEADER;
        // A pointer in the question could only lead into the header.
        if question != wire_length(asked.name()) + 4 {
            return None;
        }
        let count = usize::from(counts.additionals);
        let (_, edns, _) = Message::read_records(&mut decoder, count, true, OpCode::Query).ok()?;
        let edns = edns.map(|edns| ClientEdns {
            version: edns.version(),
            udp_size: edns.max_payload(),
        });
        if !decoder.is_empty() {
            return None;
        }
        Some(Self {
            question,
            asked,
            header: metadata,
            edns,
            message,
        })
    }

    /// The question as hickory-proto has it.
    pub(super) fn asked(&self) -> &Question {
        &self.asked
    }

    /// The name as text: lower case, labels joined by dots, none at the end; what is unusual in a label is
    /// escaped.
    pub(super) fn name(&self) -> String {
        let mut name = self.asked.name().to_lowercase();
        name.set_fqdn(false);
        name.to_ascii()
    }

    /// What is asked for.
    pub(super) fn kind(&self) -> RecordType {
        self.asked.query_type()
    }

    /// Whether the client speaks a version of EDNS that we don't.
    pub(super) fn is_too_new(&self) -> bool {
        self.edns.is_some_and(|edns| edns.version > 0)
    }

    /// The message under another id.
    pub(super) fn with_id(&self, id: [u8; 2]) -> Vec<u8> {
        let mut message = self.message.to_vec();
        message[..2].copy_from_slice(&id);
        message
    }

    /// Whether `answer` answers this question, asked under `id`: the question must come back to the letter, upper and
    /// lower case included, and the rest must be whole unless it says that it is not.
    pub(super) fn is_answered_by(&self, answer: &[u8], id: [u8; 2]) -> bool {
        answer.len() >= HEADER
            && answer[..2] == id
            && answer[2] & (QR | OPCODE) == QR
            && answer[4..6] == [0, 1]
            && answer.get(HEADER..HEADER + self.question) == Some(self.question())
            && (is_truncated(answer) || is_whole(answer, HEADER + self.question))
    }

    /// An upstream's answer as the client expects it over TCP: under its own id.
    pub(super) fn answer(&self, mut answer: Vec<u8>) -> Bytes {
        answer[..2].copy_from_slice(&self.message[..2]);
        answer.into()
    }

    /// The same for UDP: when it is longer than the client, or `limit`, allows, only the answers that fit, and marked as
    /// truncated (TC). Clients that know no TCP make do with those (RFC 2181 section 9 expects no more of them).
    pub(super) fn udp_answer(&self, answer: Vec<u8>, limit: usize) -> Bytes {
        let limit = self.udp_limit(limit);
        if answer.len() <= limit {
            return self.answer(answer);
        }
        self.answer(cut(&answer, HEADER + self.question, limit))
    }

    /// Bytes that the client takes over UDP, at most `limit`.
    pub(super) fn udp_limit(&self, limit: usize) -> usize {
        let taken = self.edns.map_or(MIN_UDP, |edns| edns.udp_size.max(MIN_UDP));
        usize::from(taken).min(limit)
    }

    /// The beginning of an answer of our own.
    pub(super) fn reply(&self, code: ResponseCode) -> Message {
        let mut reply = Message::response(self.header.id, OpCode::Query);
        reply.metadata = Metadata::response_from_request(&self.header);
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = code;
        reply.add_query(self.asked.clone());
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(OUR_UDP_SIZE);
            reply.set_edns(edns);
        }
        reply
    }

    /// SERVFAIL: nobody answered.
    pub(super) fn server_failure(&self) -> Option<Bytes> {
        self.failure(ResponseCode::ServFail)
    }

    fn failure(&self, code: ResponseCode) -> Option<Bytes> {
        encode(&self.reply(code), MAX_QUERY)
    }

    fn question(&self) -> &[u8] {
        &self.message[HEADER..HEADER + self.question]
    }
}

/// The message in at most `limit` bytes; TC says that not all of it fitted. `None` when not even the question did.
pub(super) fn encode(message: &Message, limit: usize) -> Option<Bytes> {
    let mut bytes = Vec::with_capacity(TYPICAL);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::try_from(limit).unwrap_or(u16::MAX));
    message.emit(&mut encoder).ok()?;
    Some(bytes.into())
}

/// Whether another upstream may know better: SERVFAIL, NOTIMP, REFUSED, as resolvers of C libraries see it.
pub(super) fn is_refusal(answer: &[u8]) -> bool {
    let refusals = [ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused];
    answer
        .get(3)
        .is_some_and(|flags| refusals.iter().any(|code| code.low() == flags & RCODE))
}

/// Whether TC is set: there is more over TCP.
pub(super) fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & TC != 0)
}

/// Bytes of a name without compression.
fn wire_length(name: &Name) -> usize {
    name.iter().map(|label| 1 + label.len()).sum::<usize>() + 1
}

/// Whether all the records are there that the header counts, the first of them at `at`.
fn is_whole(message: &[u8], mut at: usize) -> bool {
    let records = [6, 8, 10].map(|at| u32::from(u16::from_be_bytes([message[at], message[at + 1]])));
    for _ in 0..records.iter().sum() {
        match record(message, at) {
            Some(record) => at = record.end,
            None => return false,
        }
    }
    true
}

/// A message without what does not fit `limit`: the answers from the first on, then the OPT record.
fn cut(message: &[u8], records: usize, limit: usize) -> Vec<u8> {
    let count = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let (answers, others) = (count(6), u32::from(count(8)) + u32::from(count(10)));
    let mut ends = vec![records];
    let mut at = records;
    for _ in 0..answers {
        let Some(record) = record(message, at) else { break };
        at = record.end;
        ends.push(at);
    }
    let mut opt = &[][..];
    for _ in 0..others {
        let Some(record) = record(message, at) else { break };
        if record.kind == OPT {
            opt = &message[at..record.end];
        }
        at = record.end;
    }
    if records + opt.len() > limit {
        opt = &[];
    }
    // The end of the question is among them, so there is one, however little fits.
    let kept = ends
        .iter()
        .rposition(|end| end + opt.len() <= limit)
        .unwrap_or_default();
    let mut short = [&message[..ends[kept]], opt].concat();
    short[2] |= TC;
    short[6..8].copy_from_slice(&u16::try_from(kept).unwrap_or_default().to_be_bytes());
    short[8..HEADER].copy_from_slice(&[0, 0, 0, u8::from(!opt.is_empty())]);
    short
}

/// Where a record ends, and what it is.
struct Record {
    kind: u16,
    end: usize,
}

fn record(message: &[u8], at: usize) -> Option<Record> {
    let fixed = name_end(message, at)?;
    let bytes = message.get(fixed..fixed + 10)?;
    let end = fixed + 10 + usize::from(u16::from_be_bytes([bytes[8], bytes[9]]));
    let kind = u16::from_be_bytes([bytes[0], bytes[1]]);
    (end <= message.len()).then_some(Record { kind, end })
}

/// Where the name at `start` ends, if it leads somewhere: pointers go back (RFC 1035 section 4.1.4), from piece to piece,
/// and the whole is no longer than a name may be. Not hickory's: that follows 8,000 pointers in a row, for each record.
fn name_end(message: &[u8], start: usize) -> Option<usize> {
    let (mut piece, mut at, mut length) = (start, start, 0);
    let mut end = None;
    loop {
        let byte = *message.get(at)?;
        match byte {
            0 => return end.or(Some(at + 1)),
            1..=63 => {
                at += 1 + usize::from(byte);
                length += 1 + usize::from(byte);
            }
            0xc0..=0xff => {
                let target = usize::from(u16::from_be_bytes([byte & 0x3f, *message.get(at + 1)?]));
                if target >= piece {
                    return None;
                }
                end = end.or(Some(at + 2));
                (piece, at) = (target, target);
                // Counted, so that pointers to pointers come to an end too.
                length += 1;
            }
            64..=0xbf => return None,
        }
        if length >= 2 * MAX_NAME {
            return None;
        }
    }
}

/// The longest question that is taken, in bytes: what a query over UDP may be without being cut on its way (DNS flag
/// day 2020). With its options a real one has 150.
pub(super) const MAX_QUERY: usize = 1232;

/// What we say that we take over UDP.
const OUR_UDP_SIZE: u16 = 1232;

/// OPT, and a signature; each costs us time to read.
const MAX_ADDITIONAL: u16 = 3;

/// Bytes of the header: id, flags, four counts.
const HEADER: usize = 12;

/// Bytes of a name, its last length byte included (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// Room for an answer of ours, in bytes.
const TYPICAL: usize = 256;

/// What every client takes over UDP, and the least that EDNS can say (RFC 6891 section 6.2.3).
const MIN_UDP: u16 = 512;

/// Type of the EDNS record (RFC 6891 section 6.1.1).
const OPT: u16 = 41;

/// They are answered with many messages; a stub resolver asks neither.
const ZONE_TRANSFERS: [RecordType; 2] = [RecordType::IXFR, RecordType::AXFR];

// Third byte of the header.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;

// Fourth byte of the header.
const RCODE: u8 = 0x0f;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A question for `name`, type A, class IN, recursion desired.
    pub(crate) fn question(id: u16, name: &str) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, 1, 0, 1]);
        message
    }

    /// With an OPT record; `size` is what the client takes over UDP.
    pub(crate) fn with_opt(mut message: Vec<u8>, size: u16) -> Vec<u8> {
        message[11] += 1;
        message.extend([0, 0, 41]);
        message.extend(size.to_be_bytes());
        message.extend([0; 6]);
        message
    }

    /// An answer with `count` A records, each 16 bytes.
    pub(crate) fn answer_with(mut question: Vec<u8>, count: u16) -> Vec<u8> {
        question[2] |= QR;
        question[6..8].copy_from_slice(&count.to_be_bytes());
        for number in 0..count {
            question.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0]);
            question.extend(number.to_be_bytes());
        }
        question
    }

    pub(crate) fn asked(message: Vec<u8>) -> Query {
        match judge(message.clone().into()) {
            Verdict::Ask(query) => query,
            other @ (Verdict::Answer(_) | Verdict::Drop) => panic!("{message:02x?}: {other:?}"),
        }
    }

    fn is_dropped(message: &[u8]) -> bool {
        judge(Bytes::copy_from_slice(message)) == Verdict::Drop
    }

    #[test]
    fn plain_questions_are_questions() {
        for (name, text) in [
            ("", ""),
            ("Example.com", "example.com"),
            ("with space.example", "with\\040space.example"),
            ("nul\0.example", "nul\\000.example"),
            (&"a".repeat(63), &"a".repeat(63)),
        ] {
            let query = asked(question(7, name));
            assert_eq!(query.with_id([7, 8])[..2], [7, 8]);
            assert_eq!(query.udp_limit(9999), 512);
            assert_eq!(query.name(), text);
        }
        for (size, taken) in [(0, 512), (511, 512), (512, 512), (1232, 1232), (65535, 65535)] {
            assert_eq!(
                asked(with_opt(question(7, "example.com"), size)).udp_limit(99_999),
                taken
            );
        }
        let longest = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join(".");
        asked(question(7, &longest));
    }

    #[test]
    fn a_dot_inside_a_label_parts_nothing() {
        let mut message = question(7, "a_b.c");
        message[14] = b'.';
        assert_eq!(asked(message).name(), "a\\.b.c");
    }

    #[test]
    fn every_truncation_and_every_tail_is_dropped() {
        let whole = with_opt(question(7, "www.example.com"), 1232);
        for length in 0..whole.len() {
            assert!(is_dropped(&whole[..length]), "of {length} bytes");
        }
        assert!(is_dropped(&[&whole[..], &[0]].concat()));
        let mut padded = question(7, "example.com");
        padded[11] = 1;
        padded.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0]);
        let room = MAX_QUERY - padded.len() - 2;
        padded.extend(u16::try_from(room).unwrap().to_be_bytes());
        // Option 12 is padding (RFC 7830).
        padded.extend([0, 12]);
        padded.extend(u16::try_from(room - 4).unwrap().to_be_bytes());
        padded.resize(MAX_QUERY, 0);
        asked(padded.clone());
        padded.push(0);
        assert!(is_dropped(&padded), "longer than a question may be");
    }

    #[test]
    fn hostile_questions_are_dropped() {
        let plain = question(7, "example.com");
        let changed = |at: usize, bytes: &[u8]| {
            let mut message = plain.clone();
            message[at..at + bytes.len()].copy_from_slice(bytes);
            message
        };
        let too_long = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(62)].join(".");
        // An additional record whose name is a pointer to itself.
        let mut looped = changed(10, &[0, 1]);
        let at = u8::try_from(looped.len()).unwrap();
        looped.extend([0xc0, at, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]);
        let crowd = (0..4).fold(plain.clone(), |message, _| with_opt(message, 1232));
        for message in [
            changed(4, &[0, 0]),
            changed(4, &[0, 2]),
            changed(4, &[255, 255]),
            changed(6, &[0, 1]),
            changed(8, &[0, 1]),
            changed(10, &[0, 1]),
            changed(10, &[255, 255]),
            // Pointers to itself, backwards, forwards, past the end; the two reserved kinds of label; a root too early.
            changed(12, &[0xc0, 12]),
            changed(12, &[0xc0, 0]),
            changed(12, &[0xc0, 20]),
            changed(12, &[0xff, 0xff]),
            changed(12, &[0x40]),
            changed(12, &[0x80]),
            changed(12, &[63]),
            changed(12, &[0]),
            changed(2, &[QR]),
            question(7, &too_long),
            with_opt(with_opt(plain.clone(), 1232), 1232),
            looped,
            crowd,
        ] {
            assert!(is_dropped(&message), "{message:02x?}");
        }
    }

    #[test]
    fn what_we_do_not_do_is_said() {
        let code = |message: Vec<u8>| match judge(message.into()) {
            Verdict::Answer(answer) => {
                assert_eq!((answer[1], answer[2] & QR), (7, QR), "an answer, under the client's id");
                answer[3] & RCODE
            }
            other @ (Verdict::Ask(_) | Verdict::Drop) => panic!("{other:?}"),
        };
        for kind in [251, 252] {
            let mut transfer = question(7, "example.com");
            let at = transfer.len() - 3;
            transfer[at] = kind;
            assert_eq!(code(transfer), ResponseCode::Refused.low());
        }
        for opcode in 1..16 {
            let mut other = question(7, "example.com");
            other[2] = opcode << 3;
            assert_eq!(code(other), ResponseCode::NotImp.low());
        }
    }

    #[test]
    fn only_its_own_answer_is_taken() {
        let query = asked(question(7, "Example.com"));
        let answer = |id: u16, name: &str| answer_with(question(id, name), 2);
        assert!(query.is_answered_by(&answer(9, "Example.com"), [0, 9]));
        for wrong in [
            answer(8, "Example.com"),
            answer(9, "example.com"),
            answer(9, "example.org"),
            answer(9, ""),
            question(9, "Example.com"),
            answer(9, "Example.com")[..20].to_vec(),
            vec![0, 9],
            Vec::new(),
        ] {
            assert!(!query.is_answered_by(&wrong, [0, 9]), "{wrong:02x?}");
        }
    }

    #[test]
    fn answers_are_whole_or_say_that_they_are_not() {
        let query = asked(question(7, "example.com"));
        let whole = answer_with(question(7, "example.com"), 3);
        for length in 0..whole.len() {
            assert!(!query.is_answered_by(&whole[..length], [0, 7]), "of {length} bytes");
        }
        let mut said = whole[..whole.len() - 5].to_vec();
        said[2] |= TC;
        assert!(query.is_answered_by(&said, [0, 7]));
        // Names that lead to themselves, forwards, in a circle of two, and to a reserved label.
        let first = question(7, "example.com").len();
        let pointer = |target: usize| {
            [
                0xc0 | u8::try_from(target >> 8).unwrap(),
                u8::try_from(target & 0xff).unwrap(),
            ]
        };
        for target in [first, first + 16, first + 2, 2047] {
            let mut looped = whole.clone();
            looped[first..first + 2].copy_from_slice(&pointer(target));
            assert!(!query.is_answered_by(&looped, [0, 7]), "to {target}");
        }
        let mut circle = whole.clone();
        // The second record's name leads into the first's data, which goes on into the second's name.
        circle[first + 12..first + 16].copy_from_slice(&[3, b'a', b'b', b'c']);
        circle[first + 16..first + 18].copy_from_slice(&pointer(first + 12));
        assert!(!query.is_answered_by(&circle, [0, 7]));
    }

    #[test]
    fn long_chains_of_pointers_end() {
        let mut message = vec![0; 20];
        for at in (20..16_000_usize).step_by(2) {
            message.extend(u16::try_from(0xc000 | (at - 2)).unwrap().to_be_bytes());
        }
        assert_eq!(name_end(&message, 20 + 2 * 100), Some(20 + 2 * 100 + 2));
        assert_eq!(name_end(&message, message.len() - 2), None);
    }

    #[test]
    fn long_answers_are_cut_between_records() {
        let limit = |query: &Query, answer: &[u8], limit| query.udp_answer(answer.to_vec(), limit);
        let small = question(7, "example.com");
        let long = answer_with(small.clone(), 60);
        let cut = limit(&asked(small.clone()), &long, 1472);
        assert_eq!((cut[2] & TC, &cut[..2]), (TC, &[0, 7][..]));
        assert_eq!(
            (cut.len(), cut[4..12].to_vec()),
            (29 + 30 * 16, vec![0, 1, 0, 30, 0, 0, 0, 0])
        );
        let query = asked(with_opt(small.clone(), 1232));
        let with_opt_too = with_opt(long.clone(), 1232);
        assert_eq!(limit(&query, &with_opt_too, 1472).len(), with_opt_too.len(), "it fits");
        let cut = limit(&query, &with_opt_too, 100);
        assert_eq!(
            (cut.len(), cut[6..12].to_vec()),
            (29 + 3 * 16 + 11, vec![0, 3, 0, 0, 0, 1])
        );
        assert_eq!(limit(&query, &with_opt_too, 39).len(), 29, "not even the OPT record");
        assert_eq!(limit(&query, &with_opt_too, 5)[6..12], [0; 6], "nothing at all");
    }

    /// Damaged messages of every kind: no panic, and nothing that is forwarded differs from what came.
    #[test]
    fn noise_never_panics() {
        let seeds = [
            question(7, "www.example.com"),
            with_opt(question(7, "a.b.c.d"), 4096),
            with_opt(answer_with(question(7, "www.example.com"), 5), 1232),
        ];
        let query = asked(seeds[0].clone());
        // Numerical Recipes' generator.
        let mut state = 1_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize
        };
        for round in 0..20_000 {
            let mut message = seeds[round % seeds.len()].clone();
            for _ in 0..=random() % 4 {
                let at = random() % message.len();
                message[at] = u8::try_from(random() & 0xff).unwrap();
            }
            message.truncate(1 + random() % (message.len() + 20));
            if let Verdict::Ask(query) = judge(message.clone().into()) {
                assert_eq!(query.with_id([message[0], message[1]]), message);
                assert!(query.server_failure().is_some());
                query.name();
            }
            if query.is_answered_by(&message, [0, 7]) {
                let cut = query.udp_answer(message, 64);
                assert!(cut.len() <= 64);
            }
        }
    }
}
