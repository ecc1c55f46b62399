import DataflowColumnar

extension Function {
    static let encodingFunctions: [Function] = [
        digest("md5", "The MD5 digest as 32 hexadecimal digits.", "'900150983cd24fb0d6963f7d28e17f72'") {
            Digests.md5($0, to: &$1)
        },
        digest("sha1", "The SHA-1 digest as 40 hexadecimal digits.", "'a9993e364706816aba3e25717850c26c9cd0d89d'") {
            Digests.sha1($0, to: &$1)
        },
        digest(
            "sha256", "The SHA-256 digest as 64 hexadecimal digits.",
            "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'"
        ) { Digests.sha256($0, to: &$1) },
        checksum("crc32", "The CRC-32 of zlib and gzip, from 0 to 4294967295.", "891568578") { Checksums.crc32($0) },
        checksum(
            "xxhash64", "The 64 bits of XXH64 (seed 0) as int64: a fast hash for sampling and spreading.",
            "4952883123889572249"
        ) { Checksums.xxhash64($0) },
        digest("to_hex", "Two lower-case hexadecimal digits a byte.", "'616263'") { Encodings.toHex($0, to: &$1) },
        decoder(
            "from_hex", "The bytes of hexadecimal digits; the row fails where they are none.",
            ("cast(from_hex('c3B6') as string)", "'ö'"), "hexadecimal digits"
        ) { Encodings.fromHex($0, to: &$1) },
        digest("to_base64", "As base 64 with padding.", "'YWJj'") { Encodings.toBase64($0, to: &$1) },
        decoder(
            "from_base64",
            "The bytes of base 64, of the ordinary alphabet or that of URLs, with or without padding; the row fails where it is none.",
            ("cast(from_base64('w7Y') as string)", "'ö'"), "base 64"
        ) { Encodings.fromBase64($0, to: &$1) },
    ]

    private static func digest(
        _ name: String, _ summary: String, _ example: String,
        _ write: @escaping @Sendable (UnsafeRawBufferPointer, inout TextOutput) -> Void
    ) -> Function {
        Function(name, "\(name)(text or bytes)", 1...1, summary, [("\(name)('abc')", example)]) {
            site throws(ExpressionError) in
            site.call(.string, [try textOrBytes(site, 0)]) { arguments, rows, evaluation in
                let step = arguments[0].stride
                return arguments[0].text.withUnsafeViews { texts in
                    writeText(rows) { row, output in
                        if evaluation.isWanted(row) { write(texts.bytes(row &* step), &output) }
                    }
                }
            }
        }
    }

    private static func checksum(
        _ name: String, _ summary: String, _ example: String,
        _ hash: @escaping @Sendable (UnsafeRawBufferPointer) -> Int64
    ) -> Function {
        Function(name, "\(name)(text or bytes)", 1...1, summary, [("\(name)('abc')", example)]) {
            site throws(ExpressionError) in
            site.call(.int64, [try textOrBytes(site, 0)]) { arguments, rows, _ in
                let step = arguments[0].stride
                return arguments[0].text.withUnsafeViews { texts in
                    Column(
                        .int64,
                        .int64(
                            Values(count: rows) { out in
                                for row in 0..<rows { out[row] = hash(texts.bytes(row &* step)) }
                            }))
                }
            }
        }
    }

    /// - Parameter what: what the text has to be, for the error of the row.
    private static func decoder(
        _ name: String, _ summary: String, _ example: (call: String, value: String), _ what: String,
        _ write: @escaping @Sendable (UnsafeRawBufferPointer, inout TextOutput) -> Bool
    ) -> Function {
        Function(name, "\(name)(text)", 1...1, summary, [example]) { site throws(ExpressionError) in
            site.call(.bytes, [try site.plan(0, .string)]) { arguments, rows, evaluation in
                let step = arguments[0].stride
                let column = arguments[0].text.withUnsafeViews { texts in
                    writeText(rows) { row, output in
                        guard evaluation.isWanted(row) else { return }
                        let text = texts.bytes(row &* step)
                        guard !write(text, &output) else { return }
                        output.restartRow()
                        evaluation.fail(
                            row,
                            RowError(
                                .invalidArgument,
                                "\(Casts.excerpt(String(decoding: text, as: UTF8.self))) is no \(what)"))
                    }
                }
                return Column(.bytes, column.storage, count: rows)
            }
        }
    }
}
