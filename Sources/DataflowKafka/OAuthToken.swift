internal import CKafka
internal import Glibc

/// A bearer token out of a file, for SASL's OAUTHBEARER.
struct OAuthToken {
    var text: String
    /// Milliseconds since 1970 at which it ends; nil where the token does not say.
    var expiry: Int64?

    /// Reads the file anew. Blocks.
    /// - Throws: what is wrong with the file; never what stands in it.
    init(path: String) throws(KafkaFailure) {
        guard let file = fopen(path, "re") else {
            throw KafkaFailure(
                RD_KAFKA_RESP_ERR__AUTHENTICATION,
                "cannot read the token file \(path): \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: OAuthToken.maxByteCount)
        let count = fread(&bytes, 1, bytes.count, file)
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let word = words.first, count < bytes.count else {
            throw KafkaFailure(
                RD_KAFKA_RESP_ERR__AUTHENTICATION,
                "the token file \(path) does not hold one token, a word without spaces")
        }
        self.text = String(word)
        let parts = word.split(separator: ".", omittingEmptySubsequences: false)
        if parts.count == 3 {
            expiry = OAuthToken.expiry(claims: OAuthToken.base64URL(parts[1].utf8)).flatMap { seconds in
                let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1000)
                return overflow ? nil : milliseconds
            }
        }
    }

    private static let maxByteCount = 1 << 20

    /// The bytes of a text in base64url (RFC 4648, section 5) without padding; ends at the first other character.
    static func base64URL(_ text: some Sequence<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var bitCount = 0
        for character in text {
            let value: UInt32
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(character) - 65
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(character) - 71
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(character) + 4
            case UInt8(ascii: "-"): value = 62
            case UInt8(ascii: "_"): value = 63
            default: return bytes
            }
            bits = bits << 6 | value
            bitCount += 6
            if bitCount >= 8 {
                bitCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
            }
        }
        return bytes
    }

    /// The number behind the key `exp` of a JSON object, not of an object within it.
    static func expiry(claims: [UInt8]) -> Int64? {
        var depth = 0
        var index = 0
        var key: ArraySlice<UInt8> = []
        while index < claims.count {
            switch claims[index] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "\""):
                let start = index + 1
                index = start
                while index < claims.count, claims[index] != UInt8(ascii: "\"") {
                    index += claims[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                key = start <= index && index <= claims.count ? claims[start..<index] : []
            case UInt8(ascii: ":") where depth == 1 && key.elementsEqual("exp".utf8):
                let digits = claims[(index + 1)...].drop { $0 == UInt8(ascii: " ") }
                    .prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
                return Int64(String(decoding: digits, as: UTF8.self))
            default: break
            }
            index += 1
        }
        return nil
    }
}
