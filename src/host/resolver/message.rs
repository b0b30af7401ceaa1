//! Just enough of a DNS message to forward it: header, question, the outline of the records behind (RFC 1035
//! section 4.1, RFC 6891 for EDNS). No name is ever decompressed, so no pointer can lead anywhere.
//!
//! Pure. A container's message is either one plain question, or it is answered here, or it is dropped; see [`judge`].

use bytes::Bytes;

/// What becomes of a container's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A question for somebody else.
    Forward(Query),
    /// Answered on the spot.
    Answer(Bytes),
    /// Not worth an answer: too short to be one, or an answer itself (which could go round in circles).
    Drop,
}

/// One question, in a message that may be forwarded as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    message: Bytes,
    /// Bytes of the question section.
    question: usize,
    /// Bytes that the client takes over UDP.
    udp_size: usize,
}

/// Looks at a message from a container.
pub(super) fn judge(message: Bytes) -> Verdict {
    if message.len() < HEADER || message[2] & QR != 0 {
        return Verdict::Drop;
    }
    if message[2] & OPCODE != 0 {
        return Verdict::Answer(failure(&message, 0, NOT_IMPLEMENTED));
    }
    let Some((question, udp_size)) = outline(&message) else {
        return Verdict::Answer(failure(&message, 0, FORMAT_ERROR));
    };
    let query = Query {
        message,
        question,
        udp_size,
    };
    if ZONE_TRANSFERS.contains(&query.kind()) {
        return Verdict::Answer(query.failure(REFUSED));
    }
    Verdict::Forward(query)
}

impl Query {
    /// The message under another id.
    pub(super) fn with_id(&self, id: [u8; 2]) -> Vec<u8> {
        let mut message = self.message.to_vec();
        message[..2].copy_from_slice(&id);
        message
    }

    /// Whether `answer` answers this question, asked under `id`: the question must come back to the letter, upper and
    /// lower case included.
    pub(super) fn is_answered_by(&self, answer: &[u8], id: [u8; 2]) -> bool {
        answer.len() >= HEADER
            && answer[..2] == id
            && answer[2] & (QR | OPCODE) == QR
            && answer[4..6] == [0, 1]
            && answer.get(HEADER..HEADER + self.question) == Some(self.question())
    }

    /// An upstream's answer as the client expects it over TCP: under its own id.
    pub(super) fn answer(&self, mut answer: Vec<u8>) -> Bytes {
        answer[..2].copy_from_slice(&self.message[..2]);
        answer.into()
    }

    /// The same for UDP: without records and marked as truncated (TC) when it is longer than the client, or `limit`,
    /// allows.
    pub(super) fn udp_answer(&self, mut answer: Vec<u8>, limit: usize) -> Bytes {
        if answer.len() > self.udp_size.min(limit) {
            answer.truncate(HEADER + self.question);
            answer[2] |= TC;
            answer[6..HEADER].fill(0);
        }
        self.answer(answer)
    }

    /// SERVFAIL: nobody answered.
    pub(super) fn server_failure(&self) -> Bytes {
        self.failure(SERVER_FAILURE)
    }

    fn failure(&self, code: u8) -> Bytes {
        failure(&self.message, self.question, code)
    }

    fn question(&self) -> &[u8] {
        &self.message[HEADER..HEADER + self.question]
    }

    fn kind(&self) -> u16 {
        let at = HEADER + self.question - 4;
        u16::from_be_bytes([self.message[at], self.message[at + 1]])
    }
}

/// Whether another upstream may know better: SERVFAIL, NOTIMP, REFUSED, as resolvers of C libraries see it.
pub(super) fn is_refusal(answer: &[u8]) -> bool {
    answer
        .get(3)
        .is_some_and(|flags| matches!(flags & RCODE, SERVER_FAILURE | NOT_IMPLEMENTED | REFUSED))
}

fn failure(message: &[u8], question: usize, code: u8) -> Bytes {
    let mut answer = message[..HEADER + question].to_vec();
    answer[2] = QR | message[2] & (OPCODE | RD);
    answer[3] = RA | code;
    answer[4..HEADER].fill(0);
    answer[5] = u8::from(question > 0);
    answer.into()
}

/// Length of the question section and size of the client's UDP buffer; `None` when the message is not exactly one
/// question and well-formed additional records.
fn outline(message: &[u8]) -> Option<(usize, usize)> {
    let count = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    if (count(4), count(6), count(8)) != (1, 0, 0) {
        return None;
    }
    let question = name(&message[HEADER..], Compression::Forbidden)?.checked_add(4)?;
    let mut rest = message.get(HEADER + question..)?;
    let mut udp_size = None;
    for _ in 0..count(10) {
        let (record, behind) = record(rest)?;
        if record.kind == OPT && udp_size.replace(record.class).is_some() {
            return None;
        }
        rest = behind;
    }
    let udp_size = usize::from(udp_size.unwrap_or(MIN_UDP)).max(usize::from(MIN_UDP));
    rest.is_empty().then_some((question, udp_size))
}

struct Record {
    kind: u16,
    class: u16,
}

fn record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let fixed = bytes.get(name(bytes, Compression::Allowed)?..)?;
    let (fixed, data) = fixed.split_first_chunk::<10>()?;
    let data_length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let record = Record {
        kind: u16::from_be_bytes([fixed[0], fixed[1]]),
        class: u16::from_be_bytes([fixed[2], fixed[3]]),
    };
    Some((record, data.get(data_length..)?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    Allowed,
    Forbidden,
}

/// Bytes that the name at the start takes: labels of at most 63 bytes, 255 in all (RFC 1035 section 2.3.4).
fn name(bytes: &[u8], compression: Compression) -> Option<usize> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            0 if at < MAX_NAME => return Some(at + 1),
            length @ 1..=63 if at < MAX_NAME => at += 1 + usize::from(length),
            0xc0..=0xff if compression == Compression::Allowed => {
                return bytes.get(at + 1).map(|_| at + 2);
            }
            _ => return None,
        }
    }
}

/// Bytes of the header: id, flags, four counts.
const HEADER: usize = 12;

/// Bytes of a name, its last length byte included.
const MAX_NAME: usize = 255;

/// What every client takes over UDP, and the least that EDNS can say (RFC 6891 section 6.2.3).
const MIN_UDP: u16 = 512;

/// Type of the EDNS record, whose class is the size of the client's buffer (RFC 6891 section 6.1.2).
const OPT: u16 = 41;

/// IXFR and AXFR answer with many messages; a stub resolver asks neither.
const ZONE_TRANSFERS: [u16; 2] = [251, 252];

// Third byte of the header.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;
const RD: u8 = 0x01;

// Fourth byte of the header.
const RA: u8 = 0x80;
const RCODE: u8 = 0x0f;
const FORMAT_ERROR: u8 = 1;
const SERVER_FAILURE: u8 = 2;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;

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

    fn with_opt(mut message: Vec<u8>, size: u16) -> Vec<u8> {
        message[11] += 1;
        message.extend([0, 0, 41]);
        message.extend(size.to_be_bytes());
        message.extend([0; 6]);
        message
    }

    fn forwarded(message: Vec<u8>) -> Query {
        match judge(message.clone().into()) {
            Verdict::Forward(query) => query,
            other @ (Verdict::Answer(_) | Verdict::Drop) => panic!("{message:02x?}: {other:?}"),
        }
    }

    fn code(message: &[u8]) -> Option<u8> {
        match judge(Bytes::copy_from_slice(message)) {
            Verdict::Answer(answer) => {
                assert_eq!(answer[..2], message[..2], "under the client's id");
                assert_ne!(answer[2] & QR, 0);
                Some(answer[3] & RCODE)
            }
            Verdict::Forward(_) | Verdict::Drop => None,
        }
    }

    #[test]
    fn plain_questions_are_forwarded() {
        for name in ["", "example.com", "with space.nul\0.example", &"a".repeat(63)] {
            let query = forwarded(question(7, name));
            assert_eq!(query.with_id([7, 8])[..2], [7, 8]);
            assert_eq!(query.udp_size, 512);
        }
        for (size, taken) in [(0, 512), (511, 512), (512, 512), (1232, 1232), (65535, 65535)] {
            assert_eq!(forwarded(with_opt(question(7, "example.com"), size)).udp_size, taken);
        }
        let longest = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join(".");
        forwarded(question(7, &longest));
    }

    #[test]
    fn every_truncation_and_every_tail_is_refused() {
        let whole = with_opt(question(7, "www.example.com"), 1232);
        for length in 0..whole.len() {
            let expected = (length >= HEADER).then_some(FORMAT_ERROR);
            assert_eq!(code(&whole[..length]), expected, "of {length} bytes");
        }
        assert_eq!(code(&[&whole[..], &[0]].concat()), Some(FORMAT_ERROR));
    }

    #[test]
    fn hostile_questions_are_refused() {
        let plain = question(7, "example.com");
        let changed = |at: usize, bytes: &[u8]| {
            let mut message = plain.clone();
            message[at..at + bytes.len()].copy_from_slice(bytes);
            message
        };
        let too_long = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(62)].join(".");
        for (message, expected) in [
            (changed(4, &[0, 0]), FORMAT_ERROR),
            (changed(4, &[0, 2]), FORMAT_ERROR),
            (changed(4, &[255, 255]), FORMAT_ERROR),
            (changed(6, &[0, 1]), FORMAT_ERROR),
            (changed(8, &[0, 1]), FORMAT_ERROR),
            (changed(10, &[0, 1]), FORMAT_ERROR),
            (changed(10, &[255, 255]), FORMAT_ERROR),
            // Pointers to itself, backwards, forwards, past the end; the two reserved kinds of label.
            (changed(12, &[0xc0, 12]), FORMAT_ERROR),
            (changed(12, &[0xc0, 0]), FORMAT_ERROR),
            (changed(12, &[0xc0, 20]), FORMAT_ERROR),
            (changed(12, &[0xff, 0xff]), FORMAT_ERROR),
            (changed(12, &[0x40]), FORMAT_ERROR),
            (changed(12, &[0x80]), FORMAT_ERROR),
            (changed(12, &[63]), FORMAT_ERROR),
            (question(7, &too_long), FORMAT_ERROR),
            (with_opt(with_opt(plain.clone(), 1232), 1232), FORMAT_ERROR),
            (changed(plain.len() - 4, &[0, 252]), REFUSED),
            (changed(plain.len() - 4, &[0, 251]), REFUSED),
        ] {
            assert_eq!(code(&message), Some(expected), "{message:02x?}");
        }
        for opcode in 1..16 {
            assert_eq!(code(&changed(2, &[opcode << 3])), Some(NOT_IMPLEMENTED));
        }
        assert_eq!(judge(changed(2, &[QR]).into()), Verdict::Drop);
    }

    #[test]
    fn only_its_own_answer_is_taken() {
        let query = forwarded(question(7, "Example.com"));
        let answer = |id: u16, name: &str| {
            let mut answer = question(id, name);
            answer[2] |= QR;
            answer
        };
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
    fn long_answers_are_cut_and_say_so() {
        let long = |query: Vec<u8>| {
            let mut answer = query;
            (answer[2], answer[7]) = (answer[2] | QR, 1);
            answer.resize(600, 0);
            answer
        };
        let small = question(7, "example.com");
        let cut = forwarded(small.clone()).udp_answer(long(small.clone()), 1472);
        assert_eq!((cut.len(), cut[2] & TC, &cut[..2]), (small.len(), TC, &[0, 7][..]));
        assert_eq!(cut[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);
        let query = forwarded(with_opt(small.clone(), 1232));
        assert_eq!(query.udp_answer(long(small.clone()), 1472).len(), 600);
        assert_eq!(
            query.udp_answer(long(small.clone()), 548).len(),
            small.len(),
            "what fits the frame counts too"
        );
    }
}
