# Jetson AGX Thor (JetPack 7, CUDA 13, sm_110). `make images` shows these facts; the build goes by them.
TARGETS += jetson-thor
jetson-thor.architectures := arm64
jetson-thor.python := 3.12
jetson-thor.cuda := 13.0
jetson-thor.torch := 2.9.0a0 (NGC 25.10)
jetson-thor.size_mb := 22000
