/// Takes the bytes of a body as they come, and knows where it ends: by its length, or by its chunks (RFC 9112 §7.1).
struct BodyDecoder {
    private enum State: Equatable {
        case bytes(Int)
        case chunkLine
        case chunk(Int)
        case chunkEnd
        case trailers
        case done
    }

    private var state: State
    /// The line of a chunk or trailer that has not come whole.
    private var line: [UInt8] = []
    private var trailerByteCount = 0

    init(_ framing: RequestHead.Framing) {
        switch framing {
        case .length(let count): state = count == 0 ? .done : .bytes(count)
        case .chunked: state = .chunkLine
        }
    }

    var isDone: Bool { state == .done }

    /// Takes what belongs to the body from the front of `input`.
    ///
    /// - Parameter append: is given the content.
    /// - Returns: how many bytes of `input` it took; fewer than all only when the body has ended.
    mutating func take(
        _ input: UnsafeRawBufferPointer, _ append: (UnsafeRawBufferPointer) -> Void
    ) throws(RequestProblem) -> Int {
        var next = 0
        while next < input.count, state != .done {
            switch state {
            case .bytes(let left):
                let count = min(left, input.count - next)
                append(UnsafeRawBufferPointer(rebasing: input[next..<next + count]))
                next += count
                state = count == left ? .done : .bytes(left - count)
            case .chunk(let left):
                let count = min(left, input.count - next)
                append(UnsafeRawBufferPointer(rebasing: input[next..<next + count]))
                next += count
                state = count == left ? .chunkEnd : .chunk(left - count)
            case .chunkLine:
                guard let line = try takeLine(input, &next) else { continue }
                let size = line.prefix { $0 != 59 && $0 != 32 && $0 != 9 }
                guard !size.isEmpty, size.count <= 8,
                    let count = Int(String(decoding: size, as: UTF8.self), radix: 16), count >= 0, size.first != 43
                else { throw RequestProblem(400, "a chunk has no size") }
                state = count == 0 ? .trailers : .chunk(count)
            case .chunkEnd:
                guard let line = try takeLine(input, &next) else { continue }
                guard line.isEmpty else { throw RequestProblem(400, "a chunk is longer than its size") }
                state = .chunkLine
            case .trailers:
                guard let line = try takeLine(input, &next) else { continue }
                trailerByteCount += line.count
                guard trailerByteCount <= RequestHead.maxByteCount else {
                    throw RequestProblem(431, "the trailers are too long")
                }
                if line.isEmpty { state = .done }
            case .done: break
            }
        }
        return next
    }

    /// The rest of a line without its CR LF; nil where it has not come whole.
    private mutating func takeLine(
        _ input: UnsafeRawBufferPointer, _ next: inout Int
    ) throws(RequestProblem) -> [UInt8]? {
        while next < input.count {
            let byte = input[next]
            next += 1
            if byte == 10 {
                guard line.last == 13 else { throw RequestProblem(400, "a line does not end with CR LF") }
                defer { line = [] }
                return Array(line.dropLast())
            }
            line.append(byte)
            guard line.count <= 1024 else { throw RequestProblem(400, "a line between chunks is too long") }
        }
        return nil
    }
}
