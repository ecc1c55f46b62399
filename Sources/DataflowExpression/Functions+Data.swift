import DataflowColumnar

extension Function {
    static let dataFunctions: [Function] = []
}
