import DataflowColumnar
import Testing

@Suite struct UTF8TextTests {
    @Test func `invalid UTF-8 is recognised`() {
        for bad: [UInt8] in [
            [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80], [0xF0, 0x8F, 0xBF, 0xBF],
        ] {
            #expect(!bad.withUnsafeBytes { isValidUTF8($0) })
            #expect(!(Array("a text in front of it".utf8) + bad).withUnsafeBytes { isValidUTF8($0) })
        }
        #expect(Array("é€😀 and plain text in a row".utf8).withUnsafeBytes { isValidUTF8($0) })
    }

    @Test func `two bytes behind any first one are as the standard library says`() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                for rest: [UInt8] in [[], [0x80], [0x80, 0xBF], [0x41], [0xBF, 0xBF, 0xC3]] {
                    let bytes = [first, second] + rest
                    let isValid = String(validating: bytes, as: UTF8.self) != nil
                    #expect(bytes.withUnsafeBytes { isValidUTF8($0) } == isValid, "\(bytes)")
                }
            }
        }
    }
}
