"""What is in an image, told in the image itself: software and models with their licences, and how it was built."""
