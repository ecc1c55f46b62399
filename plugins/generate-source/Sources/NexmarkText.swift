import DataflowOperator

/// The texts of NEXMark's events, made once: columns refer to them, so that a text costs its 16-byte view.
struct NexmarkText: Sendable {
    static let shared = NexmarkText()

    /// Texts to choose from.
    struct Choices: Sendable {
        let storage: ViewStorage

        init(_ texts: [String]) {
            // One buffer for all of them: a column of it has one, however many batches are put together.
            let buffer = Buffer(Array(texts.joined().utf8))
            storage = buffer.withUnsafeBytes { bytes in
                var offset = 0
                let views = texts.map { text in
                    defer { offset += text.utf8.count }
                    return StringView(
                        UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + text.utf8.count]), buffer: 0,
                        offset: offset)
                }
                return ViewStorage(views: Values(views), buffers: [buffer])
            }
        }
    }

    /// Bytes to cut texts from.
    struct Supply: Sendable {
        let buffer: Buffer

        /// - Parameter spaces: one byte of so many is a space; 0 for none.
        fileprivate init(byteCount: Int, seed: UInt64, spaces: Int64) {
            let random = NexmarkSequence(seed: seed, start: 0, interval: 0, disorder: 0)
            buffer = Buffer(byteCount: byteCount) { memory in
                for i in memory.indices {
                    let isSpace = spaces > 0 && random.draw(Int64(i), .textLength, below: spaces) == 0
                    memory[i] =
                        isSpace ? 0x20 : 0x61 + UInt8(truncatingIfNeeded: random.draw(Int64(i), .text, below: 26))
                }
            }
        }
    }

    /// Letters only.
    let letters = Supply(byteCount: 256 << 10, seed: 1, spaces: 0)
    /// Letters and spaces.
    let words = Supply(byteCount: 64 << 10, seed: 2, spaces: 13)
    let names: Choices
    let cities = Choices([
        "Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent",
        "Cheyenne",
    ])
    let states = Choices(["AZ", "CA", "ID", "OR", "WA", "WY"])
    /// The four well-known channels, then as many others as ``plainChannels``; ``urls`` stands beside it.
    let channels: Choices
    let urls: Choices

    static let hotChannels: Int64 = 4
    static let plainChannels: Int64 = 10_000

    private init() {
        let first = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"]
        let last = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"]
        names = Choices(first.flatMap { first in last.map { "\(first) \($0)" } })

        let random = NexmarkSequence(seed: 3, start: 0, interval: 0, disorder: 0)
        var channels = ["Google", "Facebook", "Baidu", "Apple"]
        channels += (0..<Self.plainChannels).map { "channel-\($0)" }
        urls = Choices(
            channels.indices.map { channel in
                var bits = random.bits(Int64(channel), .text)
                func folder() -> String {
                    var text = ""
                    for _ in 0..<3 + bits % 3 {
                        bits = RowHash.hash(bits)
                        text.unicodeScalars.append(Unicode.Scalar(0x61 + UInt8(bits % 26)))
                    }
                    return text
                }
                let url = "https://www.nexmark.com/\(folder())/\(folder())/\(folder())/item.htm?query=1"
                // One plain channel of ten does not tell who it is.
                let number = Int64(channel) - Self.hotChannels
                guard number >= 0, random.draw(Int64(channel), .digits, below: 10) > 0 else { return url }
                return url + "&channel_id=\(UInt32(truncatingIfNeeded: number).bitReversed >> 1)"
            })
        self.channels = Choices(channels)
    }
}

extension UInt32 {
    /// The bits in reverse order.
    fileprivate var bitReversed: UInt32 {
        var value = byteSwapped
        value = (value >> 4) & 0x0F0F_0F0F | (value & 0x0F0F_0F0F) << 4
        value = (value >> 2) & 0x3333_3333 | (value & 0x3333_3333) << 2
        return (value >> 1) & 0x5555_5555 | (value & 0x5555_5555) << 1
    }
}
