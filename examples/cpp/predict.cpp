// Masks from an exported .torchscript with nothing but LibTorch.
//
//   predict model.torchscript image.ppm mask.pgm
//
// Reads a binary PPM (P6), writes a binary PGM (P5, 0 or 255) and prints the class probabilities.
// The card inside the file gives the classes and the threshold. The size policy must be "native"
// (or the image already of the right size): resizing is left to the image library you use.

#include <torch/script.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Card {
  std::vector<std::string> classes;
  float threshold = 0.5F;
};

// The two fields needed here; a real program would use its JSON library.
Card read_card(const std::string& json) {
  std::smatch found;
  if (!std::regex_search(json, found, std::regex(R"re("schema_version":\s*"1\.)re"))) {
    throw std::runtime_error("no wsol model card of schema 1 in the model");
  }
  Card card;
  if (std::regex_search(json, found, std::regex(R"re("threshold":\{"value":([-+.eE\d]+))re"))) {
    card.threshold = std::stof(found[1]);
  }
  if (std::regex_search(json, found, std::regex(R"re("classes":\[([^\]]*)\])re"))) {
    const std::string list = found[1];
    const std::regex name(R"re("((?:[^"\\]|\\.)*)")re");
    for (std::sregex_iterator it(list.begin(), list.end(), name), end; it != end; ++it) {
      card.classes.push_back((*it)[1]);
    }
  }
  return card;
}

torch::Tensor read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t width = 0;
  int64_t height = 0;
  int64_t top = 0;
  file >> magic >> width >> height >> top;
  file.get();
  if (!file || magic != "P6" || top != 255) {
    throw std::runtime_error(path + ": not a binary 8-bit PPM");
  }
  auto pixels = torch::empty({1, height, width, 3}, torch::kUInt8);
  file.read(reinterpret_cast<char*>(pixels.data_ptr<uint8_t>()), pixels.numel());
  if (!file) {
    throw std::runtime_error(path + ": cut short");
  }
  return pixels;
}

void write_pgm(const std::string& path, const torch::Tensor& mask) {
  const auto bytes = mask.to(torch::kUInt8).mul(255).contiguous();
  std::ofstream file(path, std::ios::binary);
  file << "P5\n" << mask.size(1) << ' ' << mask.size(0) << "\n255\n";
  file.write(reinterpret_cast<const char*>(bytes.data_ptr<uint8_t>()), bytes.numel());
  if (!file) {
    throw std::runtime_error(path + ": cannot be written");
  }
}

void predict(const std::string& model, const std::string& image, const std::string& mask) {
  torch::jit::ExtraFilesMap extra{{"wsol", ""}};
  auto module = torch::jit::load(model, torch::kCPU, extra);
  const Card card = read_card(extra["wsol"]);

  const c10::InferenceMode no_gradients;
  const auto outputs = module.forward({read_ppm(image)}).toTuple()->elements();
  const auto soft = outputs.at(0).toTensor()[0][0];  // mask: 1 x 1 x H x W in [0, 1]
  write_pgm(mask, soft > card.threshold);
  if (outputs.size() == 1) {
    return;  // a model of masks alone
  }
  const auto probs = outputs.at(1).toTensor()[0];  // probs: 1 x classes
  for (size_t at = 0; at < card.classes.size(); ++at) {
    std::cout << card.classes[at] << '\t' << probs[static_cast<int64_t>(at)].item<float>() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: predict MODEL.torchscript IMAGE.ppm MASK.pgm\n";
    return 2;
  }
  try {
    predict(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
