// Measure a Core ML package for each choice of compute units, and write latency.json.
//
// macOS:  swiftc -parse-as-library -O Measure.swift -o measure && ./measure model.mlpackage
// iOS:    add this file, model.mlpackage and model.mlpackage.json to an app (Xcode compiles the package to
//         model.mlmodelc in the bundle), and call, off the main thread:
//             let json = try Measure.report(of: Bundle.main.url(forResource: "model", withExtension: "mlmodelc")!,
//                                           facts: Bundle.main.url(forResource: "model.mlpackage", withExtension: "json"))

import CoreML
import Foundation

enum Measure {
    static let units: [(String, MLComputeUnits)] = [
        ("all", .all), ("cpu-and-neural-engine", .cpuAndNeuralEngine), ("cpu-and-gpu", .cpuAndGPU), ("cpu-only", .cpuOnly),
    ]

    /// What latency.json holds. `compiled` is a model.mlmodelc, `facts` the sidecar of the package.
    static func report(of compiled: URL, facts: URL?, iterations: Int = 200, warmUp: Int = 20) throws -> Data {
        var hash = ""
        if let facts = facts, let told = try JSONSerialization.jsonObject(with: Data(contentsOf: facts)) as? [String: Any] {
            hash = told["hash"] as? String ?? ""
        }
        let runs = units.map { name, choice -> [String: Any] in
            do {
                return try measure(compiled, name, choice, iterations, warmUp)
            } catch {
                return ["units": name, "error": error.localizedDescription]
            }
        }
        let found: [String: Any] = [
            "kind": "latency", "schema": 1, "engine": "Core ML",
            "package": ["name": "model.mlpackage", "hash": hash],
            "device": ["model": machine(), "system": ProcessInfo.processInfo.operatingSystemVersionString],
            "runs": runs,
        ]
        return try JSONSerialization.data(withJSONObject: found, options: [.prettyPrinted, .sortedKeys])
    }

    private static func measure(
        _ compiled: URL, _ name: String, _ choice: MLComputeUnits, _ iterations: Int, _ warmUp: Int
    ) throws -> [String: Any] {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = choice
        let began = DispatchTime.now()
        let model = try MLModel(contentsOf: compiled, configuration: configuration)
        let loaded = DispatchTime.now()
        let inputs = try sample(model)
        let before = DispatchTime.now()
        _ = try model.prediction(from: inputs)
        let first = milliseconds(before)
        for _ in 0..<warmUp { _ = try model.prediction(from: inputs) }
        var times: [Double] = []
        for _ in 0..<iterations {
            let start = DispatchTime.now()
            _ = try autoreleasepool { try model.prediction(from: inputs) }
            times.append(milliseconds(start))
        }
        times.sort()
        return [
            "units": name,
            "load_seconds": Double(loaded.uptimeNanoseconds - began.uptimeNanoseconds) / 1e9,
            "first_milliseconds": first,
            "iterations": iterations,
            "milliseconds": [
                "median": times[times.count / 2], "p90": times[min(times.count - 1, times.count * 9 / 10)], "least": times[0],
            ],
        ]
    }

    private static func milliseconds(_ start: DispatchTime) -> Double {
        Double(DispatchTime.now().uptimeNanoseconds - start.uptimeNanoseconds) / 1e6
    }

    /// Random numbers in the default shapes.
    private static func sample(_ model: MLModel) throws -> MLFeatureProvider {
        var found: [String: MLFeatureValue] = [:]
        for (name, feature) in model.modelDescription.inputDescriptionsByName {
            if let array = feature.multiArrayConstraint {
                let values = try MLMultiArray(shape: array.shape, dataType: array.dataType)
                for index in 0..<values.count {
                    values[index] = array.dataType == .int32 ? 0 : NSNumber(value: Float.random(in: 0..<1))
                }
                found[name] = MLFeatureValue(multiArray: values)
            } else if let image = feature.imageConstraint {
                var buffer: CVPixelBuffer?
                CVPixelBufferCreate(nil, image.pixelsWide, image.pixelsHigh, image.pixelFormatType, nil, &buffer)
                if let buffer = buffer { found[name] = MLFeatureValue(pixelBuffer: buffer) }
            }
        }
        return try MLDictionaryFeatureProvider(dictionary: found)
    }

    private static func machine() -> String {
        var about = utsname()
        uname(&about)
        return withUnsafeBytes(of: &about.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

#if os(macOS)
@main
struct Main {
    static func main() async throws {
        guard CommandLine.arguments.count == 2 else {
            print("usage: measure model.mlpackage")
            exit(2)
        }
        let package = URL(fileURLWithPath: CommandLine.arguments[1])
        let compiled = try await MLModel.compileModel(at: package)
        let facts = package.appendingPathExtension("json")
        let known = FileManager.default.fileExists(atPath: facts.path) ? facts : nil
        let found = try Measure.report(of: compiled, facts: known)
        try found.write(to: package.deletingLastPathComponent().appendingPathComponent("latency.json"))
        print(String(decoding: found, as: UTF8.self))
    }
}
#endif
